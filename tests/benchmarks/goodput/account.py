"""What became of the time: each second of a training under losses has one use."""

from collections.abc import Sequence
from dataclasses import dataclass

from .losses import Life


# Uses of time in the order they follow each other, and what ends each of them. Training is `kept` or `lost`.
PHASES = {"imports": "imported", "setup": "built", "pull": "brought", "load": "loaded"}
USES = [*PHASES, "kept", "lost", "failed"]


@dataclass(frozen=True)
class Stretch:
    """
    Some time with one use.

    Args:
        use (`str`):
            One of `USES`: the phases of a start, training whose result was kept or lost, or a start that failed.
        start (`float`), end (`float`):
            Seconds from the first start of the training.
    """

    use: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Account:
    """
    One contestant's training, from its first start to its end. The clock stands still between two machines.

    Args:
        lives (`Sequence[Life]`):
            All of its processes in their order; the last one came to its end.
    """

    def __init__(self, lives: Sequence[Life]):
        self.lives = lives
        # Each life's steps stay up to where a later life began; a life that never trained began nowhere.
        begins = [life.value("loaded") for life in lives]
        self._stays = [
            min((begin for begin in begins[number + 1 :] if begin is not None), default=float("inf"))
            for number in range(len(lives))
        ]

    @property
    def seconds(self) -> float:
        """From the first start to the end of the training, all processes together."""
        return sum(life.end - life.start for life in self.lives)

    @property
    def losses(self) -> list[float]:
        """When machines were lost, in seconds from the first start."""
        passed, moments = 0.0, []
        for life in self.lives:
            passed += life.end - life.start
            if life.fate == "lost":
                moments.append(passed)
        return moments

    @property
    def failed_starts(self) -> int:
        """How many processes ended with an error."""
        return sum(life.fate == "failed" for life in self.lives)

    @property
    def steps_lost(self) -> int:
        """Steps that were made in vain."""
        return sum(step > stays for life, stays in zip(self.lives, self._stays, strict=True) for _, step in life.steps)

    @property
    def result(self) -> dict:
        """`weights` by their SHA-256 and `eval_loss` at the end."""
        return self.lives[-1].value("result")

    def stretches(self) -> list[Stretch]:
        """All the time, in its order."""
        passed, found = 0.0, []
        for life, stays in zip(self.lives, self._stays, strict=True):
            offset = passed - life.start
            for use, start, end in _uses(life, stays):
                found.append(Stretch(use, start + offset, end + offset))
            passed += life.end - life.start
        return found

    def total(self, use: str) -> float:
        """Seconds of one use."""
        return sum(stretch.seconds for stretch in self.stretches() if stretch.use == use)

    def restarts(self) -> list[dict[str, float]]:
        """
        Where the seconds from each restart to its first step went, for those that came so far.

        Returns:
            `list[dict[str, float]]`: Seconds by `"imports"`, `"setup"`, `"pull"`, `"load"` and `"first step"`.
        """
        return [
            {
                **{use: end - start for use, start, end in _uses(life, 0) if use in PHASES},
                "first step": life.steps[0][0] - life.when("loaded"),
            }
            for life in self.lives[1:]
            if life.steps
        ]


def _uses(life: Life, stays: float) -> list[tuple[str, float, float]]:
    """Use, begin and end of each stretch of a life, whose steps stay up to some step."""
    if life.fate == "failed" and not life.steps:
        return [("failed", life.start, life.end)]
    found, since = [], life.start
    for use, ends_with in PHASES.items():
        end = life.when(ends_with)
        found.append((use, since, life.end if end is None else end))
        if end is None:
            return found
        since = end
    kept = max((moment for moment, step in life.steps if step <= stays), default=since)
    if stays == float("inf"):
        kept = life.end
    return [*found, ("kept", since, kept), ("lost", kept, life.end)]
