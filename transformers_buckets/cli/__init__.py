"""The command `transformers-buckets`: list, bring, send, check, release and tidy checkpoints. See `docs/cli.md`."""

import argparse
import sys
from collections.abc import Sequence

from ..bucket.errors import BucketAddressError, BucketError
from ..bucket.version import VERSION
from . import adopt, export, ls, promote, prune, pull, push, rm, verify, watch
from .arguments import UsageError
from .output import BROKEN, FINE, INTERRUPTED, USAGE, fail


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        argv (`Sequence[str]`, *optional*):
            Arguments after the name of the command. Defaults to those of this process.

    Returns:
        `int`: The exit code: 0 if all is fine, 1 if something is broken, not there or cannot be reached, 2 for wrong usage
        or if nothing was changed because nobody said yes.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["hub"]:
        return _hub(argv[1:])
    if argv[:1] == ["run"]:
        return _run_script(argv[1:])
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except (UsageError, BucketAddressError) as error:
        return fail(error, USAGE)
    except (BucketError, ValueError, OSError, RuntimeError) as error:  # hf_xet raises plain RuntimeErrors
        return fail(error, BROKEN)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="transformers-buckets",
        description="Look after the checkpoints of training runs in HF Storage Buckets.",
        epilog="Exit codes: 0 fine, 1 something is broken or not there, 2 wrong usage or nothing changed. "
        "`transformers-buckets <command> --help` has the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"transformers_buckets {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    for command in (ls, pull, export, push, verify, watch, promote, prune, rm, adopt):
        command.register(commands)
    commands.add_parser("run", help="run a training script as it is, with buckets in its flags", add_help=False)
    commands.add_parser("hub", help="serve a folder as a Hub on this machine", add_help=False)
    return parser


def _hub(argv: Sequence[str]) -> int:
    try:
        from ..local_hub import main as serve
    except ModuleNotFoundError as error:
        return fail(f"The local Hub needs {error.name}: pip install 'transformers_buckets[hub]'", BROKEN)
    return serve(list(argv))


def _run_script(argv: Sequence[str]) -> int:
    from ..run import run  # takes seconds: it imports transformers

    run(list(argv))
    return FINE
