"""The report: tables and a picture, written into a page between two markers."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .findings import Findings
from .page import put, table
from .summary import Ratio, median, percentile
from .targets import targets


NAMES = {
    "a": "plain Trainer",
    "b": "push_to_hub",
    "c": "sync_bucket",
    "d": "transformers_buckets",
    "e": "with async_save",
    "f": "without a disk",
}
_COLORS = {
    "alone": "#bbbbbb",
    "a": "#888888",
    "b": "#4c78a8",
    "c": "#f58518",
    "d": "#54a24b",
    "e": "#b279a2",
    "f": "#9d755d",
}


def write(page: Path, findings: Findings, options: Sequence[str], machine: dict[str, str]) -> None:
    """
    Write the figures into a page, and the picture beside it.

    Args:
        page (`Path`):
            A Markdown file with the markers of this benchmark.
        findings ([`Findings`]):
            The figures.
        options (`Sequence[str]`):
            What was on the command line.
        machine (`dict[str, str]`):
            What they were taken on.
    """
    picture = page.with_suffix(".png")
    draw(picture, findings)
    put(page, "saves", options, machine, markdown(findings, picture.name))


def markdown(findings: Findings, picture: str) -> str:
    """All tables."""
    parts = [
        f"Model and optimizer make a checkpoint of {findings.checkpoint_size / 1e6:,.0f} MB. Copying that state in "
        f"memory takes {findings.memory_copy():.2f} s. The plain Trainer makes {1 / findings.plain_step:.1f} steps per second.",
        f"![The figures below as bars]({picture})",
        "### Targets",
        table(
            ["target", "measured", "verdict"],
            [(target.promise, target.measured, target.verdict) for target in targets(findings)],
        ),
        "### Saves and pushes",
        _saves(findings),
        "### The stop by size of the checkpoint",
        "Milliseconds, medians. *Bare links* and *bare copy* are the same work with nothing around it.",
        _by_size(findings),
        "### Resumes",
        _pulls(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _saves(findings: Findings) -> str:
    letters = findings.letters

    def row(name: str, cell: Callable[[str], str | None]) -> list[str]:
        return [name, *(cell(letter) or "" for letter in letters)]

    def number(samples: Callable[[str], Sequence[float]], digits: int = 2) -> Callable[[str], str]:
        return lambda letter: _number(median(samples(letter)), digits)

    rows = [
        row(f"stop per save, s, median of {len(findings.stops('a'))}", number(findings.stops)),
        row("stop per save, s, p95", lambda letter: _number(percentile(findings.stops(letter), 95))),
        row(
            "stop per save, times (a)",
            lambda letter: "1" if letter == "a" else str(Ratio.of(findings.stops(letter), findings.stops("a"))),
        ),
        row(
            "stop of a save right after another, s, median",
            number(findings.stops_on_the_heels),
        ),
        row("steps per second during a push", number(findings.rates, 2)),
        row("taken from the training by a save, s", lambda letter: _number(median(findings.lost(letter)))),
        row("from end of save to safe on the Hub, s", lambda letter: _number(median(findings.landing(letter)))),
        row("processor time of a push, s per GB", number(findings.cpu)),
        row("the same, times hf_xet alone", lambda letter: _times(findings.cpu(letter), findings.cpu("alone"))),
        row("bytes sent per checkpoint, share of its size", lambda letter: _share(findings, letter)),
        *(
            row(
                f"requests per save, {count:,} checkpoints in the bucket",
                lambda letter, n=count: _requests(findings, letter, n),
            )
            for count in sorted({grown["checkpoints"] for grown in findings.grown})
        ),
        row("peak memory, GB", lambda letter: _number(findings.peak_memory(letter) / 1e9)),
        row(
            "peak memory above that of (a), checkpoints",
            lambda letter: _number(
                (findings.peak_memory(letter) - findings.peak_memory("a")) / findings.checkpoint_size
            ),
        ),
        row("local disk, checkpoints", lambda letter: _number(findings.disk(letter) / findings.checkpoint_size)),
    ]
    alone = (
        f"hf_xet alone pushes the same bytes in {median(findings.pushed('alone', 'seconds')):.2f} s and with "
        f"{median(findings.cpu('alone')):.2f} s of processor time per GB."
    )
    return table(["", *(f"({letter}) {NAMES[letter]}" for letter in letters)], rows) + "\n\n" + alone


def _by_size(findings: Findings) -> str:
    def milliseconds(seconds: float | None) -> str:
        return _number(seconds and seconds * 1e3, 1)

    return table(
        [
            "checkpoint",
            "(a) stops for",
            "(d) adds",
            "... by links",
            "... by the queue",
            "bare links",
            "(e) stops for",
            "... by the copy",
            "bare copy",
        ],
        [
            (f"{row.size / 1e6:,.0f} MB", *map(milliseconds, list(vars(row).values())[1:]))
            for row in findings.by_size()
        ],
    )


def _pulls(findings: Findings) -> str:
    verification = median(findings.pulled("empty", "verification"))
    return table(
        ["", "s, median"],
        [
            ("hf_xet alone, empty disk", _number(median(findings.pulled("alone")))),
            ("transformers_buckets, empty disk", _number(median(findings.pulled("empty")))),
            ("... of which verification, after the last byte", _number(verification)),
            ("transformers_buckets, intact checkpoint on the disk", _number(median(findings.pulled("intact")))),
            ("hashing the same files once", _number(median(findings.pulled("hash")))),
        ],
    )


def draw(picture: Path, findings: Findings) -> None:
    """Four small charts in one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, charts = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained")
    letters = findings.letters
    pushing = [letter for letter in letters if letter != "a"]
    _bars(charts[0, 0], "A save stops training for (s)", {letter: findings.stops(letter) for letter in letters})
    _bars(
        charts[0, 1],
        "Steps per second during a push; (a): without",
        {letter: findings.rates(letter) for letter in letters},
    )
    costs = {way: findings.cpu(way) for way in ["alone", *pushing] if findings.cpu(way)}
    _bars(charts[1, 0], "Processor time of a push (s per GB)", costs)
    for letter in pushing:
        if requests := findings.requests(letter, "later"):
            charts[1, 1].plot(
                list(requests),
                list(requests.values()),
                marker="o",
                color=_COLORS[letter],
                label=f"({letter}) {NAMES[letter]}",
            )
    charts[1, 1].set(xscale="log", ylim=(0, None), xlabel="checkpoints in the bucket")
    charts[1, 1].set_title("Requests per save", loc="left", fontsize=11)
    charts[1, 1].legend(frameon=False)
    for chart in charts.flat:
        chart.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _bars(chart, title: str, samples: dict[str, Sequence[float]]) -> None:
    """A bar up to the median, and the samples as dots."""
    for place, (way, figures) in enumerate(samples.items()):
        chart.bar(place, median(figures), color=_COLORS[way], width=0.6)
        chart.plot([place] * len(figures), figures, "o", color="black", alpha=0.35, markersize=3)
    names = {"alone": "hf_xet\nalone", **{letter: f"({letter})\n{name}" for letter, name in NAMES.items()}}
    chart.set_xticks(range(len(samples)), [names[way].replace(" ", "\n").replace("s_b", "s_\nb") for way in samples])
    chart.tick_params(axis="x", labelsize=8)
    chart.set_ylim(0, None)
    chart.set_title(title, loc="left", fontsize=11)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _times(samples: Sequence[float], others: Sequence[float]) -> str:
    return str(Ratio.of(samples, others)) if samples else ""


def _share(findings: Findings, letter: str) -> str:
    sent = findings.pushed(letter, "sent")
    return f"{median(sent) / median(findings.pushed(letter, 'size')):.3f}" if sent else ""


def _requests(findings: Findings, letter: str, checkpoints: int) -> str:
    later = findings.requests(letter, "later").get(checkpoints)
    return "" if later is None else f"{later} (first save: {findings.requests(letter, 'first')[checkpoints]})"
