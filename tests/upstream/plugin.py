"""For pytest: the tests of the package, with `transformers.Trainer` of a patched transformers in the place of ours.

`-p tests.upstream.plugin`, with the patched tree in PYTHONPATH.
"""

import importlib
import logging
import pkgutil
import sys
from types import ModuleType

import pytest

from .exceptions import EXCEPTIONS


FACE = ("Trainer", "TrainingArguments", "Seq2SeqTrainer", "Seq2SeqTrainingArguments")


def pytest_sessionstart() -> None:
    """After tests/conftest.py, which makes the settings, and before any test is imported."""
    import transformers
    from transformers.integrations import hf_buckets

    import tests.conftest
    import transformers_buckets

    for found in pkgutil.walk_packages(getattr(hf_buckets, "__path__", []), f"{hf_buckets.__name__}."):
        if found.ispkg:
            continue
        ours = found.name.replace(hf_buckets.__name__, "transformers_buckets")
        module = sys.modules[ours] = importlib.import_module(found.name)
        above, _, name = ours.rpartition(".")
        setattr(sys.modules[above], name, module)
        if isinstance(getattr(tests.conftest, name, None), ModuleType):
            setattr(tests.conftest, name, module)
    for name, module in list(sys.modules.items()):
        if name.startswith(hf_buckets.__name__) and hasattr(module, "logger"):
            module.logger = logging.getLogger("transformers_buckets")  # tests read what it says
    errors = importlib.import_module("transformers_buckets.bucket.errors")
    for name in [name for name in vars(errors) if name.endswith("Error")]:
        setattr(errors, name, getattr(hf_buckets, name, getattr(errors, name)))
    if hasattr(hf_buckets, "RETRY_DELAYS"):
        hf_buckets.RETRY_DELAYS = (0.01, 0.01)
    for name in FACE:
        setattr(transformers_buckets, name, getattr(transformers, name))


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        for name, reason in EXCEPTIONS.items():
            if item.nodeid.endswith(name) or f"{name}[" in item.nodeid:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
