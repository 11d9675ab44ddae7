"""Xet's storage: files cut into chunks, chunks packed into xorbs, shards that say how to put files together."""
