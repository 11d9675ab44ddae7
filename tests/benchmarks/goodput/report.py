"""The figures as Markdown."""

from statistics import mean

from ..page import table
from .account import Account


_PARTS = {
    "imports": "... imports",
    "setup": "... model and Trainer",
    "pull": "... the checkpoint comes and is verified",
    "load": "... it is loaded",
    "first step": "... the first step",
}


def markdown(accounts: dict[str, Account], told: str, picture: str) -> str:
    """
    A column for each contestant.

    Args:
        accounts (`dict[str, Account]`):
            By label; the first one is the training that nobody interrupted.
        told (`str`):
            What was trained, and when machines were lost.
        picture (`str`):
            Name of the file with the picture.
    """
    uninterrupted, *_ = accounts.values()

    def row(name: str, cell) -> list[str]:
        return [name, *(cell(account) if account is not uninterrupted else "" for account in accounts.values())]

    def seconds(part: str):
        return lambda account: (
            f"{mean(restart[part] for restart in account.restarts()):.2f}" if account.restarts() else ""
        )

    rows = [
        ["total time, s", *(f"{account.seconds:.1f}" for account in accounts.values())],
        ["total time, times uninterrupted", *(_times(account, uninterrupted) for account in accounts.values())],
        row("machines lost", lambda account: str(len(account.losses))),
        row("starts that failed", lambda account: str(account.failed_starts)),
        row("steps lost", lambda account: str(account.steps_lost)),
        row("training that was lost, s", lambda account: f"{account.total('lost'):.1f}"),
        row(
            "from a restart to the first step, s, mean",
            lambda account: (
                f"{mean(sum(restart.values()) for restart in account.restarts()):.2f}" if account.restarts() else ""
            ),
        ),
        *(row(name, seconds(part)) for part, name in _PARTS.items()),
        ["evaluation loss at the end", *(f"{account.result['eval_loss']:.6f}" for account in accounts.values())],
        row(
            "weights at the end as if never interrupted",
            lambda account: "yes" if account.result["weights"] == uninterrupted.result["weights"] else "**no**",
        ),
    ]
    return f"{told}\n\n![Where the time went]({picture})\n\n" + table(["", *accounts], rows)


def _times(account: Account, uninterrupted: Account) -> str:
    return f"{account.seconds / uninterrupted.seconds:.2f}"
