"""What the measurements say: one column a variant."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .summary import median


@dataclass(frozen=True)
class OfSize:
    """
    Stops at one size of the checkpoint, in seconds, medians.

    Args:
        size (`int`):
            Bytes of the checkpoint.
        plain (`float`):
            Stop of (a).
        added (`float`):
            What (d) adds to its own stop.
        links (`float`), queue (`float`):
            Parts of that: the copy by links, and handing it to the worker.
        bare_links (`float`):
            What the operating system alone takes for such links.
        staged (`float`), copied (`float`), *optional*:
            Stop of (e), and its part for the copy in memory.
        bare_copy (`float`):
            What copying the same bytes takes, with nothing around it.
    """

    size: int
    plain: float
    added: float
    links: float
    queue: float
    bare_links: float
    staged: float | None
    copied: float | None
    bare_copy: float


class Findings:
    """
    Figures of one run of the benchmark.

    Args:
        trainings (`list[dict]`), smaller (`list[dict]`), grown (`list[dict]`), pushes (`list[dict]`), pulls (`list[dict]`):
            Results of the methods of [`Bench`].
    """

    def __init__(
        self, trainings: list[dict], smaller: list[dict], grown: list[dict], pushes: list[dict], pulls: list[dict]
    ):
        self.trainings, self.smaller, self.grown, self.pushes, self.pulls = trainings, smaller, grown, pushes, pulls
        self.letters = sorted({training["letter"] for training in trainings})
        self.checkpoint_size = trainings[0]["checkpoint_size"]
        self.plain_step = median([end - start for training in self._of("a") for start, end in training["steps"]])

    # ---- Samples ----

    def _of(self, letter: str, share: float = 1.0) -> list[dict]:
        """Trainings of one variant; those of a smaller model, if a share of the full size is named."""
        parameters = share * self.trainings[0]["parameters"]
        return [
            training
            for training in self.smaller + self.trainings
            if training["letter"] == letter and math.isclose(training["parameters"], parameters)
        ]

    def quiet_saves(self, trainings: Iterable[dict]) -> list[dict]:
        """Saves that found no push under way, without the first one, which pays for what Python loads on first use."""
        return [save for training in trainings for save in training["saves"][1:-1]]

    def stops(self, letter: str, share: float = 1.0) -> list[float]:
        """Seconds that the training thread stopped at a save, at a share of the full size."""
        return [_stop(save) for save in self.quiet_saves(self._of(letter, share))]

    def stops_on_the_heels(self, letter: str) -> list[float]:
        """The same for saves that came while the push of the one before was under way."""
        last = [training["saves"][-1] for training in self._of(letter)]
        return [_stop(save) for save in last]

    def rates(self, letter: str) -> list[float]:
        """Steps per second while a push is under way, one figure a push; for (a), between saves."""
        rates = []
        for training in self._of(letter):
            for save, following in zip(training["saves"][1:], [*training["saves"][2:], None], strict=True):
                end = following["start"] if following and letter == "a" else save["landed"]
                steps = _steps_between(training, save["end"], end)
                if steps:
                    rates.append(len(steps) / sum(steps))
        return rates

    def lost(self, letter: str) -> list[float]:
        """Seconds a save takes from the training: the stop, and what the steps lose while the push is under way."""
        return [
            _stop(save) + sum(step - self.plain_step for step in _steps_between(training, save["end"], save["landed"]))
            for training in self._of(letter)
            for save in training["saves"][1:-1]
        ]

    def landing(self, letter: str) -> list[float]:
        """Seconds from the end of a save until it is safe on the Hub."""
        return [save["landed"] - save["end"] for save in self.quiet_saves(self._of(letter)) if save["landed"]]

    def peak_memory(self, letter: str) -> float:
        """Bytes."""
        return median([training["peak_memory"] for training in self._of(letter)])

    def disk(self, letter: str) -> float:
        """Bytes of `output_dir`, at most."""
        return max(save["disk"] for save in self.quiet_saves(self._of(letter)))

    def cpu(self, way: str) -> list[float]:
        """Seconds of processor time of the client for each GB pushed."""
        return [push["cpu"] / (push["size"] / 1e9) for push in self.pushes if push["way"] == way]

    def pushed(self, way: str, what: str) -> list[float]:
        """One figure of each push by one way."""
        return [push[what] for push in self.pushes if push["way"] == way]

    def pulled(self, way: str, what: str = "seconds") -> list[float]:
        """One figure of each pull by one way."""
        return [pull[what] for pull in self.pulls if pull["way"] == way]

    def requests(self, letter: str, which: str) -> dict[int, int]:
        """Requests of the `"first"` or a `"later"` save, by the number of checkpoints that are there already."""
        return {row["checkpoints"]: row[which] for row in self.grown if row["letter"] == letter}

    def memory_copy(self, share: float = 1.0) -> float | None:
        """Seconds to copy the state of model and optimizer in memory, at a share of the full size."""
        return median([training["copy"] for training in self._of("a", share)])

    def by_size(self) -> list[OfSize]:
        """Stops by the size of the checkpoint, the smallest first."""
        everything = self.smaller + self.trainings
        return [
            self._of_size([training for training in everything if training["parameters"] == parameters])
            for parameters in sorted({training["parameters"] for training in everything})
        ]

    def _of_size(self, trainings: list[dict]) -> OfSize:
        def of(letter: str) -> list[dict]:
            return [training for training in trainings if training["letter"] == letter]

        def saves(letter: str, seconds: Callable[[dict], float]) -> float | None:
            return median([seconds(save) for save in self.quiet_saves(of(letter))])

        return OfSize(
            size=of("a")[0]["checkpoint_size"],
            plain=saves("a", _stop),
            added=saves("d", lambda save: _stop(save) - save["parts"]["transformers"]),
            links=saves("d", lambda save: save["parts"]["links"]),
            queue=saves("d", lambda save: save["parts"]["queue"]),
            bare_links=median([training["links"] for training in of("d")]),
            staged=saves("e", _stop),
            copied=saves("e", lambda save: save["parts"]["copy"]),
            bare_copy=median([training["copy"] for training in of("a")]),
        )


def _stop(save: dict) -> float:
    return save["end"] - save["start"]


def _steps_between(training: dict, start: float, end: float | None) -> list[float]:
    return [last - first for first, last in training["steps"] if end is not None and start <= first and last <= end]
