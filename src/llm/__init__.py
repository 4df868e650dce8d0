"""How does E2I talk to language models? One client for every provider, and a typed answer when there is none."""
