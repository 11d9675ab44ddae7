"""Storage in buckets for `torch.distributed.checkpoint`: any PyTorch program, no Trainer."""
