"""`prune`: old checkpoints are deleted."""

import argparse

from ..bucket.hub_client import explained
from .arguments import RUN, add_command, add_yes, positive, run_at
from .output import FINE, USAGE, is_sure, print_json, say


def register(commands) -> None:
    parser = add_command(commands, "prune", prune, "delete old checkpoints")
    parser.add_argument("address", help=RUN)
    parser.add_argument(
        "--keep", type=positive, required=True, metavar="N", help="how many stay; newest and best always do"
    )
    add_yes(parser)


def prune(arguments: argparse.Namespace) -> int:
    run = run_at(arguments.address)
    names = run.prunable(arguments.keep)
    say(arguments, f"To be deleted from {run.address}: {', '.join(names) or 'nothing'}")
    done = not names or is_sure(arguments, f"Delete {len(names)} checkpoints?")
    if done:
        explained(lambda: run.delete(names), str(run.address))
    if arguments.json:
        print_json({"delete": names, "done": done})
    return FINE if done else USAGE
