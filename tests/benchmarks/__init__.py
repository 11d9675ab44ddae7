"""What a checkpoint in a bucket costs, measured beside the other ways: `python -m tests.benchmarks`, or `make bench`."""
