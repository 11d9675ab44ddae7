"""One run in a bucket: its address, its checkpoints, and how they come and go. Knows the Hub, and no Trainer."""
