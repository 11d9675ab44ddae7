"""`export`: a checkpoint becomes a model folder."""

import argparse
from pathlib import Path

from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import FINE, print_json


def register(commands) -> None:
    parser = add_command(commands, "export", run_export, "make a model folder of a checkpoint, sharded or not")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    parser.add_argument("folder", type=Path, help="folder for the model; must not exist, or be empty")


def run_export(arguments: argparse.Namespace) -> int:
    from ..export import export  # imports torch

    path = export(arguments.address, arguments.folder)
    if arguments.json:
        print_json({"path": str(path)})
    else:
        print(path)
    return FINE
