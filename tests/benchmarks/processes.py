"""Every measurement runs in a process of its own, forked from one that has the libraries imported already."""

import importlib
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["tests.benchmarks.trainings", "tests.benchmarks.pushes", "tests.benchmarks.pulls"])


def in_fresh_process(function: str, *args, **kwargs):
    """
    Call a function of this package in a new process: its peak of memory is its own, and so is its session of hf_xet.

    Args:
        function (`str`):
            `module.function`.

    Returns:
        What the function returns.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=_FORKSERVER) as pool:
        return pool.submit(_call, function, args, kwargs).result()


def _call(function: str, args, kwargs):
    _be_quiet()
    module, name = function.split(".")
    return getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)(*args, **kwargs)


def _be_quiet() -> None:
    """One core for the training, as one on a GPU takes; and nothing on the screen, which costs time too."""
    import huggingface_hub.utils
    import torch
    import transformers.utils.logging

    torch.set_num_threads(1)
    huggingface_hub.utils.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("transformers_buckets").setLevel(logging.ERROR)
