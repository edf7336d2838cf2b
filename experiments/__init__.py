"""The experiments: `python -m experiments.NAME --preset smoke`, one module each."""
