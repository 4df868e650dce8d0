"""A simulated world of HCPs, months and brands, and the eight tables recorded in it."""
