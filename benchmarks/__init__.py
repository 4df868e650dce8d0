"""How fast, and how right, is E2I next to other tools? One module per question; ``python -m benchmarks`` runs all."""
