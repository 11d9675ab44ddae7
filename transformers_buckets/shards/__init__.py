"""Weights that every rank wrote a part of, read by one process: no GPU, no process group, no code from the checkpoint."""
