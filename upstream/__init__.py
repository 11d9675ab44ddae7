"""The upstream candidate: transformers with buckets inside, made from the transformers that is installed.

`docs/upstream.md` tells what it is for. Nothing of transformers is kept here but the beginnings of the statements beside which
something is added.
"""
