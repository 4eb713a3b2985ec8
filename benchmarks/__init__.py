"""What a simulation costs, against what a user would do instead: `python -m benchmarks` writes bench.json."""
