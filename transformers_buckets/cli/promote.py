"""`promote`: the model of a checkpoint goes to a model repo."""

import argparse

from ..bucket.contents import replaced_files
from ..bucket.model_repo import check_target, find_repo
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
    parser.add_argument("repo_id", help="namespace/name of the model repo, or name for one of yours")
    parser.add_argument("--revision", default="main", help="branch of the repo (default: main)")
    parser.add_argument(
        "--private",
        action="store_true",
        help="a repo that is created is private; one that is public already is refused",
    )
    add_yes(parser)


def release(arguments: argparse.Namespace) -> int:
    check_target(arguments.repo_id, arguments.revision)
    source = at_address(arguments.address, argument="address")
    run, checkpoint = CheckpointBucket(source.address), source.checkpoint
    files = promotable(run, checkpoint)
    size = sum(checkpoint.manifest.files[path].size for path in files)
    repo = find_repo(run.api, arguments.repo_id, arguments.revision, arguments.private)
    say(arguments, f"To be committed to {repo.id}, from {run.address}/{checkpoint.name}:")
    for path in files:
        say(arguments, f"  {size_text(checkpoint.manifest.files[path].size):>10}  {path}")
    if replaced := replaced_files(repo.files, files):
        say(arguments, f"To be deleted there: {', '.join(replaced)}")
    if repo.private is not None:
        question = f"Replace the model in {repo.id}, branch {arguments.revision}?"
    else:
        kind = (
            "a private one"
            if arguments.private
            else "a new one, public unless your account says otherwise (--private)"
        )
        question = f"There is no model repo {repo.id}. Create {kind}?"
    done, page = is_sure(arguments, question), None
    if done:
        page = run.promote(checkpoint, repo.id, arguments.revision, arguments.private or None)
        say(arguments, f"Published {count_text(len(files), 'file')}, {size_text(size)}: {page}")
    if arguments.json:
        print_json(
            {"checkpoint": checkpoint.name, "repo": repo.id, "files": files, "size": size, "url": page, "done": done}
        )
    return FINE if done else USAGE
