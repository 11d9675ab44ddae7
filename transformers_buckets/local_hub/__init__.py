"""A Hub on this machine: buckets, model repos and Xet storage in one process, for demos, tests and air-gapped work.

Example:

```py
>>> from huggingface_hub import HfApi
>>> from transformers_buckets.local_hub import LocalHub

>>> with LocalHub("hub-data") as hub:
...     api = HfApi(endpoint=hub.endpoint, token=hub.token)
...     bucket = api.create_bucket("my-run").bucket_id
...     api.batch_bucket_files(bucket, add=[(b"hello", "hello.txt")])
```
"""

try:
    from .command import main
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"The local Hub needs {error.name}: pip install 'transformers_buckets[hub]'") from error
from .testing import LocalHub, Request


__all__ = ["LocalHub", "Request", "main"]
