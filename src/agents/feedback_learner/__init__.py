"""How does the system learn from what it answered?"""
