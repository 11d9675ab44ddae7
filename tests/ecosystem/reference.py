"""Makes `docs/reference.md` of the docstrings: `python -m tests.ecosystem.reference` writes it anew."""

import inspect
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import transformers_buckets
from transformers_buckets import BucketArguments


PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
_INTRODUCTION = """# Reference

Flags, classes and functions that can be imported from `transformers_buckets`. This page is made of the docstrings by
`python -m tests.ecosystem.reference`; a test checks that it is up to date. The commands have [a page of their own](cli.md).
"""
# The methods a user calls, by class. Everything else is the business of the package.
_METHODS = {
    "BucketTrainerMixin": ["train", "push_to_bucket", "save_model", "init_bucket"],
    "BucketCallback": ["on_bucket_commit"],
    "CheckpointBucket": [
        *["checkpoints", "committed", "latest", "find_latest", "best", "find", "pull", "verify"],
        *["create", "push", "adopt", "watch", "promote", "prunable", "delete"],
    ],
}
_READY_MADE = ["Trainer", "Seq2SeqTrainer", "TrainingArguments", "Seq2SeqTrainingArguments"]


def page() -> str:
    """The text of the page."""
    public = [name for name in sorted(transformers_buckets.__all__) if name not in _READY_MADE]
    errors = [name for name in public if name.endswith("Error")]
    parts = [_INTRODUCTION, _flags()]
    parts += ["## Classes and functions\n", _ready_made()]
    parts += [_entry(name) for name in public if name not in errors]
    parts += ["## Errors\n", "\n".join(_error(name) for name in errors) + "\n"]
    return "\n".join(parts)


def _flags() -> str:
    rows = [
        f"| `--{field.name}` | `{field.default}` | {field.metadata['help'].replace('|', '/')} |"
        for field in fields(BucketArguments)
    ]
    return "\n".join(["## Flags\n", "| flag | default | |", "|---|---|---|", *rows, ""])


def _ready_made() -> str:
    lines = [f"- `{name}`: that of transformers, with the mixin in front." for name in _READY_MADE]
    return "### Ready-made classes\n\n" + "\n".join(lines) + "\n"


def _entry(name: str) -> str:
    thing = getattr(transformers_buckets, name)
    text = f"### {name}\n\n{_documentation(thing, name)}"
    for method in _METHODS.get(name, []):
        text += f"\n#### {name}.{method}\n\n{_documentation(getattr(thing, method), method)}"
    return text


def _error(name: str) -> str:
    error = getattr(transformers_buckets, name)
    bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
    return f"- `{name}` ({bases}): {inspect.getdoc(error)}"


def _documentation(thing, name: str) -> str:
    call = inspect.signature(thing) if not inspect.isclass(thing) or "__init__" in vars(thing) else None
    signature = f"```py\n{name}{_plain(call)}\n```\n\n" if call and "kwargs" not in call.parameters else ""
    return signature + _markdown(inspect.getdoc(thing)) + "\n"


def _plain(call: inspect.Signature) -> str:
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in call.parameters.values()]
    return (
        str(call.replace(parameters=parameters, return_annotation=call.empty))
        .replace("(self, ", "(")
        .replace("(self", "(")
    )


def _markdown(docstring: str) -> str:
    """Sections become bold, their entries a list, links to code plain code."""
    text = re.sub(r"\[`~?[\w.]*?((?:[A-Z]\w*\.)?\w+)`\]", r"`\1`", docstring)
    summary, *sections = re.split(r"^(Args|Attributes|Returns|Raises|Example): *", text, flags=re.M)
    written = summary.rstrip()
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        body = textwrap.dedent(body.lstrip("\n")).rstrip()
        if title in ("Args", "Attributes"):
            body = re.sub(r"^(\w+ \(.*\)):\n +", r"- \1: ", body, flags=re.M)
            body = re.sub(r"^    ", "  ", body, flags=re.M)
        elif title == "Raises":
            body = re.sub(r"^(?=`)", "- ", body, flags=re.M)
        elif ">>>" in body:
            body = re.sub(r"^```py(thon)?$", "```pycon", body, flags=re.M)
        written += f"\n\n**{title}**\n\n{body}"
    return written


if __name__ == "__main__":
    PAGE.write_text(page())
