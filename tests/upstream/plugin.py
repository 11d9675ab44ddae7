"""For pytest: the tests of the package, with `transformers.Trainer` of a patched transformers in the place of ours.

`-p tests.upstream.plugin`, with the patched tree in PYTHONPATH.
"""

import importlib
import logging
import pkgutil
import sys

import pytest

from .exceptions import EXCEPTIONS
from .patched import HF_BUCKETS, modules, shorten_waits


FACE = ("Trainer", "TrainingArguments", "Seq2SeqTrainer", "Seq2SeqTrainingArguments")


def pytest_sessionstart() -> None:
    """After tests/conftest.py, which makes the settings, and before any test is imported."""
    import transformers
    from transformers.integrations import hf_buckets

    import transformers_buckets

    for found in pkgutil.walk_packages(getattr(hf_buckets, "__path__", []), f"{HF_BUCKETS}."):
        if found.ispkg:
            continue
        ours = found.name.replace(HF_BUCKETS, "transformers_buckets")
        module = sys.modules[ours] = importlib.import_module(found.name)
        above, _, name = ours.rpartition(".")
        setattr(sys.modules[above], name, module)
    for module in modules().values():
        if hasattr(module, "logger"):
            module.logger = logging.getLogger("transformers_buckets")  # tests read what it says
    shorten_waits()
    faces = {name: getattr(transformers, name) for name in FACE}
    errors = {name: value for name, value in vars(hf_buckets).items() if name.endswith("Error")}
    for name, value in {**faces, **errors}.items():
        setattr(transformers_buckets, name, value)


def pytest_collection_modifyitems(items) -> None:
    waiting = EXCEPTIONS["series" if len(modules()) > 1 else "pull-request-1"]
    reasons = {name: reason for reason, names in waiting.items() for name in names}
    for item in items:
        for name in reasons:
            if item.nodeid.rpartition("/")[2].startswith(name):
                item.add_marker(pytest.mark.xfail(reason=reasons[name], strict=True))
