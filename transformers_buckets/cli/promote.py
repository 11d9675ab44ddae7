"""`promote`: the model of a checkpoint goes to a model repo."""

import argparse

from ..bucket.hub_client import explained
from ..bucket.promote import promotable
from ..bucket.units import count_text, size_text
from ..bucket.writer import CheckpointBucket
from ..resume import at_address
from .arguments import RUN_OR_CHECKPOINT, add_command, add_yes
from .output import FINE, USAGE, is_sure, print_json, say


def register(commands) -> None:
    parser = add_command(
        commands,
        "promote",
        release,
        "publish the model of a checkpoint in a model repo",
        more="One commit with weights, configuration, tokenizer and a model card; the state of the training stays in the "
        "bucket. Without a name in the address it is the latest checkpoint.",
    )
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    parser.add_argument("repo_id", help="namespace/name of the model repo")
    parser.add_argument("--revision", default="main", help="branch of the repo (default: main)")
    parser.add_argument("--private", action="store_true", help="a repo that is created is private")
    add_yes(parser)


def release(arguments: argparse.Namespace) -> int:
    source = at_address(arguments.address, argument="address")
    run, checkpoint, repo_id = CheckpointBucket(source.address), source.checkpoint, arguments.repo_id
    files = promotable(run, checkpoint)
    size = sum(checkpoint.manifest.files[path].size for path in files)
    say(arguments, f"To be committed to {repo_id}, from {run.address}/{checkpoint.name}:")
    for path in files:
        say(arguments, f"  {size_text(checkpoint.manifest.files[path].size):>10}  {path}")
    if explained(lambda: run.api.repo_exists(repo_id), repo_id):
        question = f"Replace the model in {repo_id}, branch {arguments.revision}?"
    else:
        kind = (
            "a private one"
            if arguments.private
            else "a new one, public unless your account says otherwise (--private)"
        )
        question = f"There is no model repo {repo_id}. Create {kind}?"
    done, page = is_sure(arguments, question), None
    if done:
        page = run.promote(checkpoint, repo_id, arguments.revision, arguments.private or None)
        say(arguments, f"Published {count_text(len(files), 'file')}, {size_text(size)}: {page}")
    if arguments.json:
        print_json(
            {"checkpoint": checkpoint.name, "repo": repo_id, "files": files, "size": size, "url": page, "done": done}
        )
    return FINE if done else USAGE
