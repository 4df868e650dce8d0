"""Finding evidence for an answer, answering from it, and scoring answers."""
