"""How do tests run against services that are not there? Scripted servers on loopback, for E2I's tests and yours."""
