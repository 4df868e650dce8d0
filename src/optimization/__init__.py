"""How do answers become better: candidates, gates, canaries and roll-back of prompts and retrieval settings."""
