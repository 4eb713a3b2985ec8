"""Faults at random times in real commands, and damaged files: `python -m benchmarks.faults` writes a table."""
