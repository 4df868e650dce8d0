"""Data-generating processes whose causal truth is simulated and stored beside the data."""
