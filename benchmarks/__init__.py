"""Speed and memory of simulations and front ends against alternatives: `python -m benchmarks` writes bench.json."""
