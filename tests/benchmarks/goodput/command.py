"""`python -m tests.benchmarks goodput`: all contestants in turns, the figures and the picture."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import machine
from ..hub import folder_for
from ..page import PAGE, put
from .account import Account
from .contestants import CONTESTANTS
from .life import Order
from .losses import lives, moments
from .picture import svg
from .report import markdown


def main(options: Sequence[str]) -> None:
    """Measure, draw and write."""
    arguments = _parser().parse_args(options)
    described = machine.describe()
    uninterrupted = _account("plain", arguments, [])
    lasts = moments(arguments.seed, arguments.losses, uninterrupted.seconds)
    accounts = {CONTESTANTS["plain"].label: uninterrupted}
    for name in arguments.contestants or list(CONTESTANTS)[1:]:
        accounts[CONTESTANTS[name].label] = _account(name, arguments, lasts)
    picture = arguments.page.parent / "goodput.svg"
    picture.write_text(svg(accounts))
    put(arguments.page, "goodput", options, described, markdown(accounts, _told(arguments, lasts), picture.name))
    print(f"All figures are in {arguments.page}, the picture is {picture}.")


def _account(name: str, arguments: argparse.Namespace, lasts: Sequence[float]) -> Account:
    """One contestant's training, from its first start to its end, with a Hub of its own."""
    order = Order(name, "", "", arguments.parameters, arguments.steps, arguments.save_steps, arguments.batch)
    room = 3 * arguments.steps / arguments.save_steps * 12 * arguments.parameters
    with (
        tempfile.TemporaryDirectory(prefix="goodput-", dir=arguments.folder) as folder,
        tempfile.TemporaryDirectory(prefix="goodput-hub-", dir=folder_for(room) or arguments.folder) as data,
    ):
        account = Account(list(lives(order, Path(folder), lasts, Path(data, "hub"))))
    print(f"{name:12} {account.seconds:6.1f} s, {account.steps_lost:3} steps lost", flush=True)
    return account


def _told(arguments: argparse.Namespace, lasts: Sequence[float]) -> str:
    lost = ", ".join(f"{seconds:.1f} s" for seconds in lasts)
    return (
        f"{arguments.steps} steps, a save every {arguments.save_steps}; a checkpoint has about "
        f"{12 * arguments.parameters / 1e6:,.0f} MB. Machines were lost {lost} after their first process had started; "
        "the next one stayed."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.benchmarks goodput", description=__doc__)
    parser.add_argument("contestants", nargs="*", choices=[[], *list(CONTESTANTS)[1:]], help="default: all")
    parser.add_argument("--parameters", type=float, default=5e6, help="size of the model (default: 5e6)")
    parser.add_argument("--steps", type=int, default=400, help="steps of the training (default: 400)")
    parser.add_argument("--save_steps", type=int, default=25, help="steps between saves (default: 25)")
    parser.add_argument("--batch", type=int, default=8, help="rows of 32 tokens in a step (default: 8)")
    parser.add_argument("--losses", type=int, default=3, help="machines that are lost (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which they are (default: 0)")
    parser.add_argument("--folder", help="where to put the disks (default: the system's)")
    parser.add_argument(
        "--page",
        type=Path,
        default=PAGE,
        help="page to write into, the picture goes beside (default: docs/benchmarks.md)",
    )
    return parser
