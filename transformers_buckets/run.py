"""Runs a training script as it is, in a process where the trainers and arguments of transformers can use buckets.

`python -m transformers_buckets run script.py ...` first puts the classes of this package in the place of `Trainer`,
`Seq2SeqTrainer`, `TrainingArguments` and `Seq2SeqTrainingArguments`, in the modules that define them and in those that
have imported them. What is imported afterwards, TRL or a script, gets these and builds its own classes on them.
"""

import argparse
import logging
from dataclasses import Field, fields

from transformers.hf_argparser import string_to_bool

from .main_module import NoSuchProgramError, find_module, find_script, run_as_main
from .replacements import replace_classes, were_used
from .training_args import BucketArguments


logger = logging.getLogger(__name__)

_DESCRIPTION = """
Run a training script as it is, with buckets in its Trainer and its TrainingArguments.

Flags for buckets stand in front of the script and hold for every TrainingArguments that it makes:
  transformers-buckets run --push_to_bucket --bucket_id my-org/my-run --resume_from_checkpoint auto train.py --lr 1e-4
A script that reads its flags with HfArgumentParser takes them behind its name as well:
  transformers-buckets run run_clm.py --output_dir out --push_to_bucket --bucket_id my-org/my-run
Several processes:
  torchrun --nproc_per_node 8 -m transformers_buckets run --push_to_bucket train.py
""".strip()


def run(argv: list[str]) -> None:
    """
    Run a script, or with `-m` a module, as `python` would, with buckets in its trainers and flags.

    Args:
        argv (`list[str]`):
            Flags for buckets, then the script and its arguments: `["--push_to_bucket", "script.py", "--lr", "1e-4"]` or
            `["-m", "package.module", ...]`.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    if not (given.module or given.script):
        parser.error("name a script, or a module with -m")
    # At `--` argparse ends what belongs to `-m`, and takes the rest for the script.
    name, *arguments = [*given.module, *(given.script or ())] if given.module else given.script
    if given.script and name.lower() in ("true", "false"):
        parser.error(f"a flag that switches something on takes no value: leave out {name}")
    flags = {flag: value for flag, value in vars(given).items() if flag not in ("module", "script")}
    replace_classes(flags)
    try:
        program = find_module(name) if given.module else find_script(name)
    except NoSuchProgramError as error:
        parser.exit(2, f"transformers-buckets run: {error}\n")
    try:
        run_as_main(program, [program.file if given.module else name, *arguments])
    finally:
        if flags.get("push_to_bucket") and not were_used():
            logger.warning(f"{name} made no TrainingArguments in this process: nothing was pushed.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="transformers-buckets run",
        usage="transformers-buckets run [flags for buckets] script.py | -m module [arguments of the script]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for field in fields(BucketArguments):
        text, kind = _kind(field)
        parser.add_argument(f"--{field.name}", help=f"{field.metadata['help']}{text}", **kind)
        if field.default is True:  # as `HfArgumentParser` has it
            parser.add_argument(f"--no_{field.name}", dest=field.name, action="store_false", help=argparse.SUPPRESS)
    parser.add_argument(
        "--resume_from_checkpoint",
        help="'auto', an address 'hf://buckets/...' or a folder: where the first train() of the script goes on that says "
        "nothing about it itself.",
    )
    parser.add_argument(
        "-m", dest="module", nargs=argparse.REMAINDER, default=None, help="run a module, as python -m does"
    )
    parser.add_argument("script", nargs=argparse.REMAINDER, default=None, help="the script, and its arguments")
    return parser


def _kind(field: Field) -> tuple[str, dict[str, object]]:
    """What else to say of a flag, and how it is read. None may take for its value what is the script."""
    if field.type is bool and not field.default:
        return "", {"action": "store_true"}
    if field.type is bool:
        return "", {"type": string_to_bool, "metavar": "{True,False}"}
    if field.type == (list[str] | None):
        return " Once for each pattern.", {"action": "append"}
    return "", {"type": {float: float, int | None: int}.get(field.type, str)}
