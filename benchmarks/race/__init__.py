"""The race of backbones against exhaustive search; `python -m benchmarks.race`."""
