"""All measurements of one run, in turns, against a local Hub in a process of its own."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers_buckets.local_hub import LocalHub

from .processes import in_fresh_process


LETTERS_OF_THE_SMALLER_SIZES = "ade"  # only they are compared by size
_TINY = 2e5


class Bench:
    """
    Measures; what the figures mean is for `findings.py` to say.

    Args:
        folder (`Path`):
            For everything on disk. `HF_HOME` lies in it.
        hub ([`LocalHub`]):
            Started. Its data is deleted again and again.
    """

    def __init__(self, folder: Path, hub: LocalHub):
        self.folder, self.hub = folder, hub

    def trainings(self, letters: str, parameters: float, rounds: int, saves: int) -> Iterator[dict]:
        """Trainings of all variants in turns, each on an empty disk and an empty Hub."""
        for index in range(rounds):
            start = index % len(letters)  # so that none is always the first
            for letter in letters[start:] + letters[:start]:
                with self._empty() as folder:
                    seed = index * len(letters) + letters.index(letter)
                    training = in_fresh_process("trainings.train", letter, folder, parameters, seed, saves)
                    yield {"letter": letter, "parameters": parameters, **training}

    def requests_of_grown(self, letters: str, sizes: Iterable[int]) -> Iterator[dict]:
        """How many requests the first save and a later one send to a bucket that holds many checkpoints."""
        for checkpoints in sizes:
            for letter in letters:
                with self._empty() as folder:
                    training = in_fresh_process(
                        "trainings.train", letter, folder, _TINY, 0, saves=3, steps_between=5, grown_to=checkpoints
                    )
                    starts = [save["start"] for save in training["saves"]]
                    first, later = (traffic(self.hub, *starts[index : index + 2])["requests"] for index in (0, 1))
                    yield {"letter": letter, "checkpoints": checkpoints, "first": first, "later": later}

    def pushes(self, parameters: float, repetitions: int) -> list[dict]:
        """Pushes without a training beside them, with the bytes that the Hub received."""
        with self._empty() as folder:
            pushes = in_fresh_process("pushes.push_in_turns", folder, parameters, repetitions)
            return [{**push, **traffic(self.hub, push["start"], push["end"])} for push in pushes]

    def pulls(self, parameters: float, repetitions: int) -> list[dict]:
        """Resumes, with the bytes of data that the Hub sent."""
        with self._empty() as folder:
            pulls = in_fresh_process("pulls.pull_in_turns", folder, parameters, repetitions)
            return [{**pull, **traffic(self.hub, pull["start"], pull["end"])} for pull in pulls]

    @contextmanager
    def _empty(self) -> Iterator[Path]:
        """A folder for one process. Afterwards nothing of it is left, on the Hub neither: no disk has to write it back."""
        folder = self.folder / "work"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            self.hub.stop()
            shutil.rmtree(self.hub.directory)
            shutil.rmtree(self.folder / "hf-home", ignore_errors=True)  # hf_xet remembers there what the Hub has
            self.hub.start()


def traffic(hub: LocalHub, start: float, end: float) -> dict[str, int]:
    """
    What clients sent to the Hub and got from it between two moments, by the Hub's request log.

    Returns:
        `dict[str, int]`: Number of `requests`; bytes `sent` by the clients in all, and `data_sent` and `data_received`: those
        of file contents, as Xet packs them.
    """
    requests = [request for request in hub.requests() if start <= request.time < end]
    return {
        "requests": len(requests),
        "sent": sum(request.received for request in requests),
        "data_sent": sum(request.received for request in requests if request.line.startswith("POST /v1/xorbs/")),
        "data_received": sum(request.sent for request in requests if request.line.startswith("GET /xorbs/")),
    }
