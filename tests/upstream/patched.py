"""The modules about buckets of a transformers that is patched."""

import sys
from collections.abc import Callable
from types import ModuleType


HF_BUCKETS = "transformers.integrations.hf_buckets"


def modules() -> dict[str, ModuleType]:
    """Those that are imported, by name: one in pull request 1, many in the series."""
    return {name: module for name, module in list(sys.modules.items()) if name.startswith(HF_BUCKETS)}


def shorten_waits(put: Callable[[object, str, object], None] = setattr) -> None:
    """Delays between attempts are for Hubs that are down, not for tests."""
    for module in modules().values():
        if hasattr(module, "RETRY_DELAYS"):
            put(module, "RETRY_DELAYS", (0.01, 0.01))
