"""A verdict on each target."""

from dataclasses import dataclass

from .findings import Findings
from .summary import Ratio, median


_RUN_FILE = 4096  # bytes; `bucket_run.json` takes less than half
# What a stop of `async_save` may be, in terms of one of the plain Trainer, by the share of the full size.
_STOPS_OF_ASYNC = {1 / 20: 0.35, 1 / 4: 0.35, 1: 0.10}


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


def targets(findings: Findings) -> list[Target]:
    """What was promised, what was measured, and whether that is the promise."""
    found = [*_of_saves(findings), *_of_traffic(findings), *_of_resumes(findings)]
    if "e" in findings.letters:
        found += _of_async_saves(findings)
    if "f" in findings.letters:
        found += _of_saves_without_disk(findings)
    return found


def _of_saves(findings: Findings) -> list[Target]:
    stop = Ratio.of(findings.stops("d"), findings.stops("a"))
    rate = Ratio.of(findings.rates("d"), findings.rates("c"))
    cpu = Ratio.of(findings.cpu("d"), findings.cpu("alone"))
    return [
        Target("a save stops training at most 1.03 times as long as (a)", f"{stop} times", stop.verdict(at_most=1.03)),
        *(
            Target(
                f"the same for a checkpoint of {row.size / 1e6:,.0f} MB, from what is added to the stop",
                f"{1 + row.added / row.plain:.3f} times ({row.added * 1e3:.1f} ms added)",
                _yes(1 + row.added / row.plain <= 1.03),
            )
            for row in findings.by_size()
        ),
        Target("steps per second during a push at least those of (c)", f"{rate} times", rate.verdict(at_least=1.0)),
        Target("processor time per GB at most 1.10 times hf_xet alone", f"{cpu} times", cpu.verdict(at_most=1.10)),
    ]


def _of_traffic(findings: Findings) -> list[Target]:
    root = max(findings.pushed("root", "data_sent"))
    again = max(push["data_sent"] - push["manifest"] for push in findings.pushes if push["way"] == "again")
    later = findings.requests("d", "later")
    return [
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
    ]


def _of_resumes(findings: Findings) -> list[Target]:
    pull = Ratio.of(findings.pulled("empty"), findings.pulled("alone"))
    intact = max(pull["data_received"] - pull["manifest"] for pull in findings.pulls if pull["way"] == "intact")
    return [
        Target(
            "a pull with verification at most 1.20 times hf_xet alone", f"{pull} times", pull.verdict(at_most=1.20)
        ),
        Target(
            "0 bytes received for an intact local copy",
            f"{max(0, intact):,.0f} bytes besides the manifest",
            _yes(intact <= 0),
        ),
    ]


def _of_async_saves(findings: Findings) -> list[Target]:
    found = []
    for share, limit in _STOPS_OF_ASYNC.items():
        staged, plain = (findings.stops(letter, share) for letter in "ea")
        if staged and plain:
            stop = Ratio.of(staged, plain)
            size = share * findings.checkpoint_size / 1e6
            found.append(
                Target(
                    f"async_save stops training at most {limit:.2f} times as long as (a), about {size:,.0f} MB",
                    f"{stop} times; the copy in memory alone {findings.memory_copy(share) / median(plain):.2f} times",
                    stop.verdict(at_most=limit),
                )
            )
    lost = Ratio.of(findings.lost("e"), findings.lost("a"))
    promise = "async_save takes less from the training than (a), stop and slower steps together"
    return [*found, Target(promise, f"{lost} times", lost.verdict(at_most=1.0))]


def _of_saves_without_disk(findings: Findings) -> list[Target]:
    landing = Ratio.of(findings.landing("f"), findings.landing("e"))
    promise = "no disk: from the end of a save to its commit at most 0.80 times as long as by way of the disk, (e)"
    return [Target(promise, f"{landing} times", landing.verdict(at_most=0.80))]


def _yes(is_met: bool) -> str:
    return "met" if is_met else "missed"
