"""Cases of which `make test` runs a few, and `make test-all` all."""

from collections.abc import Iterable

import pytest


def quick_only(cases: Iterable, *quick: object) -> list:
    """All cases for `parametrize`, all but some of them marked as slow."""
    return [
        case if case in quick else pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.slow)
        for case in cases
    ]
