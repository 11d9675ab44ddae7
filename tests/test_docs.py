"""The documentation: its code runs, its links lead somewhere, and what it says about flags is so."""

import re
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest

from tests.training import tiny_dataset, tiny_model
from transformers_buckets import BucketArguments, CheckpointBucket


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMISES = (ROOT / "docs" / "how_it_works.md").read_text().partition("## The promises")[2]

on_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page. Those marked `python` can run, those marked `py` are parts of something."""
    return [
        code
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S)
        if language in languages
    ]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run(code: str, bucket_id: str, namespace: dict) -> None:
    """Run a block for a bucket of its own, at steps that come soon."""
    name = bucket_id.split("/")[1]
    for written, meant in {"my-org/my-run": bucket_id, "my-org/": f"{bucket_id}-", "my-run": name, "500": "5"}.items():
        code = code.replace(written, meant)
    exec(compile(code, bucket_id, "exec"), namespace)


@pytest.fixture
def namespace(tmp_path, monkeypatch) -> dict:
    """What a reader has already: a model, data, and a folder to be in."""
    monkeypatch.chdir(tmp_path)
    return {"model": tiny_model(), "train_dataset": tiny_dataset()}


@on_every_page
def test_code_is_python(page):
    for code in code_blocks(page, "python", "py"):
        compile(code, str(page), "exec")


@on_every_page
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@on_every_page
def test_named_files_and_tests_exist(page):
    for path, test in re.findall(
        r"`((?:tests|docs|examples|transformers_buckets)/[\w/.]+)(?:::(\w+))?`", page.read_text()
    ):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


@on_every_page
def test_make_knows_what_it_is_told(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"\bmake ([a-z][\w-]*)`", page.read_text())) <= set(targets)


@pytest.mark.parametrize(
    "promise", re.split(r"^(?=\d+\. )", PROMISES, flags=re.M)[1:], ids=lambda text: text.split(".")[0]
)
def test_every_promise_names_its_proof(promise):
    assert "`tests/" in promise


def test_the_flags_are_those_of_the_readme():
    section = (ROOT / "README.md").read_text().partition("## Flags")[2].partition("These flags of transformers")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", section, re.M))
    assert documented == {field.name: str(field.default) for field in fields(BucketArguments)}


def test_the_readme_is_a_page_to_land_on():
    text = (ROOT / "README.md").read_text()
    order = [
        "never interrupted",
        "killed and resumed",
        "docs/benchmarks.png",
        "*Status*",
        "huggingface.co itself has not",
    ]
    order += ["git+<address of this repository>", "transformers-buckets run", "SFTTrainer", "```python"]
    order += ["**`push_to_hub`**", "**`hf buckets sync`**", "CONTRIBUTING.md", "Questions and bugs", "LICENSE"]
    places = [text.find(what) for what in order]

    assert -1 not in places and places == sorted(places)
    assert len(text.splitlines()) < 120


def test_the_readme_starts_and_resumes(bucket_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = code_blocks(ROOT / "README.md", "python")

    run(example, bucket_id, {})
    first = CheckpointBucket(bucket_id).latest()
    (tmp_path / "out").rename(tmp_path / "lost")
    run(example.replace("bucket_id=", "num_train_epochs=4, bucket_id="), bucket_id, {})

    assert CheckpointBucket(bucket_id).latest().step == first.step // 3 * 4
    assert (tmp_path / "out" / first.name).is_dir()  # pulled: the second run did not train this step


@pytest.mark.parametrize("name", ["guide.md", "coming_from_push_to_hub.md", "dcp.md"])
def test_the_blocks_of_a_page_run_one_after_the_other(bucket_id, namespace, name):
    for code in code_blocks(ROOT / "docs" / name, "python"):
        run(code, bucket_id, namespace)


def test_the_test_that_contributors_read_passes(hub, bucket_id, tmp_path, messages):
    (code,) = re.findall(r"```py\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    written = {}
    exec(compile(textwrap.dedent(code), "CONTRIBUTING.md", "exec"), written)
    (test,) = [value for name, value in written.items() if name.startswith("test_")]
    test(hub, bucket_id, tmp_path, messages)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_tells_its_story_to_the_end():
    story = subprocess.run([sys.executable, ROOT / "examples" / "demo.py"], capture_output=True, text=True)
    assert story.returncode == 0, story.stdout + story.stderr
    assert "Identical, bit for bit." in story.stdout
