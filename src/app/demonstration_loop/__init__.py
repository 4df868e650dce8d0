"""How does the whole circle look, on one machine and with nothing set up?"""
