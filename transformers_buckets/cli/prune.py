"""`prune`: old checkpoints are deleted."""

import argparse

from ..bucket.hub_client import explained
from ..bucket.retention import Policy, keep_best, keep_every, keep_last
from ..bucket.units import count_text, size_text
from .arguments import RUN, UsageError, add_command, add_yes, positive, run_at
from .output import FINE, USAGE, is_sure, print_json, say


def register(commands) -> None:
    parser = add_command(
        commands,
        "prune",
        prune,
        "delete old checkpoints",
        more="The newest and the best always stay. What one of several --keep options keeps stays.",
    )
    parser.add_argument("address", help=RUN)
    parser.add_argument("--keep", type=positive, metavar="N", help="keep the N committed last")
    parser.add_argument("--keep-every", type=positive, metavar="STEPS", help="keep those at multiples of STEPS")
    parser.add_argument("--keep-best", type=positive, metavar="N", help="keep the N best by --metric")
    parser.add_argument("--metric", default="loss", help="metric of the evaluation (default: loss)")
    parser.add_argument(
        "--greater-is-better",
        action=argparse.BooleanOptionalAction,
        help="whether greater values of --metric are better (default: unless it ends in loss)",
    )
    add_yes(parser)


def prune(arguments: argparse.Namespace) -> int:
    policies = _policies(arguments)
    run = run_at(arguments.address)
    committed = {checkpoint.name: checkpoint for checkpoint in run.committed()}
    if not committed:
        raise run.nothing_committed(run.find_latest()[1])
    names = run.prunable(policies)
    freed = sum(committed[name].manifest.size for name in names)
    what = f"{count_text(len(names), 'checkpoint')}, {size_text(freed)}"
    say(arguments, f"To be deleted from {run.address}: {', '.join(names) or 'nothing'}{f' ({what})' if names else ''}")
    done = not names or is_sure(arguments, f"Delete {what}?")
    if names and done:
        explained(lambda: run.delete(names, missing_ok=True), str(run.address))
        say(arguments, f"Deleted {what}. {count_text(len(committed) - len(names), 'checkpoint')} left.")
    if arguments.json:
        print_json({"delete": names, "size": freed, "done": done})
    return FINE if done else USAGE


def _policies(arguments: argparse.Namespace) -> list[Policy]:
    policies = []
    if arguments.keep:
        policies.append(keep_last(arguments.keep))
    if arguments.keep_every:
        policies.append(keep_every(arguments.keep_every))
    if arguments.keep_best:
        policies.append(keep_best(arguments.keep_best, arguments.metric, arguments.greater_is_better))
    if not policies:
        raise UsageError("say what to keep: --keep N, --keep-every STEPS, --keep-best N, or several of them.")
    return policies
