"""From samples to what the report says: medians, ratios with their uncertainty, verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


_RESAMPLED = 4_000


def median(samples: Sequence[float]) -> float | None:
    """The median; `None` if there are no samples."""
    return float(np.median(samples)) if len(samples) else None


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """The percentile; `None` if there are no samples."""
    return float(np.percentile(samples, percent)) if len(samples) else None


@dataclass(frozen=True)
class Ratio:
    """
    The median of some samples in terms of the median of others.

    Args:
        value (`float`):
            The ratio.
        low (`float`), high (`float`):
            Where it lies with a probability of 90 %, by resampling.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float], others: Sequence[float]) -> "Ratio":
        """Of nothing measured, nothing is known: every figure is NaN."""
        if not samples or not others:
            return cls(math.nan, math.nan, math.nan)
        generator = np.random.default_rng(0)
        ratios = np.median(generator.choice(samples, (_RESAMPLED, len(samples))), axis=1) / np.median(
            generator.choice(others, (_RESAMPLED, len(others))), axis=1
        )
        return cls(median(samples) / median(others), *(float(edge) for edge in np.percentile(ratios, [5, 95])))

    def verdict(self, at_most: float | None = None, at_least: float | None = None) -> str:
        """`"met"`, `"missed"`, or that the noise of this run does not allow to tell."""
        if math.isnan(self.value):
            return "not measured"
        if at_most is not None:
            met, possible = self.value <= at_most, self.low <= at_most
        else:
            met, possible = self.value >= at_least, self.high >= at_least
        if met:
            return "met"
        return "missed, within the noise of this run" if possible else "missed"

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
