"""A save on its way to the bucket: copied, queued, uploaded. Gets plain values, and knows no Trainer."""
