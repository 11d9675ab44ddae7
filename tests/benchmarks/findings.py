"""What the measurements say: one column a variant, and a verdict on each target."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .summary import Ratio, median


_RUN_FILE = 4096  # bytes; `bucket_run.json` takes less than half


@dataclass(frozen=True)
class Target:
    """
    Something that was promised.

    Args:
        promise (`str`), measured (`str`), verdict (`str`):
            What the report says.
    """

    promise: str
    measured: str
    verdict: str


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

    def _of(self, letter: str) -> list[dict]:
        return [training for training in self.trainings if training["letter"] == letter]

    def quiet_saves(self, trainings: Iterable[dict]) -> list[dict]:
        """Saves that found no push under way, without the first one, which pays for what Python loads on first use."""
        return [save for training in trainings for save in training["saves"][1:-1]]

    def stops(self, letter: str) -> list[float]:
        """Seconds that the training thread stopped at a save."""
        return [_stop(save) for save in self.quiet_saves(self._of(letter))]

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

    @property
    def memory_copy(self) -> float:
        """Seconds to copy the state of model and optimizer in memory."""
        return median([training["copy"] for training in self._of("a")])

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

    # ---- Targets ----

    def targets(self) -> list[Target]:
        """What was promised, what was measured, and whether that is the promise."""
        stop = Ratio.of(self.stops("d"), self.stops("a"))
        rate = Ratio.of(self.rates("d"), self.rates("c"))
        cpu = Ratio.of(self.cpu("d"), self.cpu("alone"))
        loading = [
            seconds - verification
            for seconds, verification in zip(self.pulled("empty"), self.pulled("empty", "verification"), strict=True)
        ]
        resume = Ratio.of(loading, self.pulled("alone"))
        root = max(self.pushed("root", "data_sent"))
        again = max(push["data_sent"] - push["manifest"] for push in self.pushes if push["way"] == "again")
        intact = max(pull["data_received"] - pull["manifest"] for pull in self.pulls if pull["way"] == "intact")
        later = self.requests("d", "later")
        targets = [
            Target(
                "a save stops training at most 1.03 times as long as (a)", f"{stop} times", stop.verdict(at_most=1.03)
            ),
            *(
                Target(
                    f"the same for a checkpoint of {row.size / 1e6:,.0f} MB, from what is added to the stop",
                    f"{1 + row.added / row.plain:.3f} times ({row.added * 1e3:.1f} ms added)",
                    _yes(1 + row.added / row.plain <= 1.03),
                )
                for row in self.by_size()
            ),
            Target(
                "steps per second during a push at least those of (c)", f"{rate} times", rate.verdict(at_least=1.0)
            ),
            Target("processor time per GB at most 1.10 times hf_xet alone", f"{cpu} times", cpu.verdict(at_most=1.10)),
            Target(
                "nothing but the file of the run sent for the root snapshot",
                f"{root:,.0f} bytes of data",
                _yes(root <= _RUN_FILE),
            ),
            Target(
                "nothing but that and the manifest sent for a repeated push",
                f"{max(0, again):,.0f} bytes besides the new manifest",
                _yes(again <= _RUN_FILE),
            ),
            Target(
                "requests per save constant as the bucket grows",
                ", ".join(f"{count} at {checkpoints:,} checkpoints" for checkpoints, count in later.items()),
                _yes(len(set(later.values())) == 1),
            ),
            Target(
                "resume at most 1.10 times hf_xet alone, besides verification",
                f"{resume} times",
                resume.verdict(at_most=1.10),
            ),
            Target(
                "0 bytes received for an intact local copy",
                f"{max(0, intact):,.0f} bytes besides the manifest",
                _yes(intact <= 0),
            ),
        ]
        if "e" in self.letters:
            stop = Ratio.of(self.stops("e"), self.stops("a"))
            lost = Ratio.of(self.lost("e"), self.lost("a"))
            targets += [
                Target(
                    "async_save stops training at most 1/10 as long as (a)",
                    f"{stop} times; the copy in memory alone {self.memory_copy / median(self.stops('a')):.2f} times",
                    stop.verdict(at_most=0.10),
                ),
                Target(
                    "async_save takes less from the training than (a), stop and slower steps together",
                    f"{lost} times",
                    lost.verdict(at_most=1.0),
                ),
            ]
        return targets


def _stop(save: dict) -> float:
    return save["end"] - save["start"]


def _steps_between(training: dict, start: float, end: float | None) -> list[float]:
    return [last - first for first, last in training["steps"] if end is not None and start <= first and last <= end]


def _yes(is_met: bool) -> str:
    return "met" if is_met else "missed"
