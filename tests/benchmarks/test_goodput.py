"""Where the time went is counted right, and drawn as counted. How long things take is not tested."""

from xml.etree import ElementTree

import pytest

from tests.benchmarks.goodput import command
from tests.benchmarks.goodput.account import USES, Account
from tests.benchmarks.goodput.losses import Life, moments
from tests.benchmarks.goodput.picture import svg
from tests.benchmarks.goodput.report import markdown
from tests.benchmarks.page import put


RESULT = {"weights": "abc", "eval_loss": 1.25}


def life(start: float, fate: str, end: float, loaded: int | None = None, steps: int = 0) -> Life:
    """A second for each phase of its start, and for each step."""
    names = ["imported", "built", "brought"]
    notes = [(start + number + 1, name, None) for number, name in enumerate(names)]
    if loaded is not None:
        notes.append((start + 4, "loaded", loaded))
        notes += [(start + 5 + number, "step", loaded + 1 + number) for number in range(steps)]
    if fate == "done":
        notes += [(end, "trained", None), (end + 1, "result", RESULT)]
    return Life(start, end, fate, notes)


@pytest.fixture
def uninterrupted() -> Account:
    return Account([life(0, "done", 14, 0, 10)])


@pytest.fixture
def account() -> Account:
    """Lost after step 6, resumed at step 4; lost before it trained; lost after step 5, resumed at step 2 of all steps."""
    return Account(
        [
            life(100, "lost", 111, 0, 6),
            life(200, "lost", 203.5),
            life(300, "lost", 305, 4, 1),
            life(400, "failed", 402),
            life(500, "done", 512, 2, 8),
        ]
    )


def test_what_a_later_life_does_again_was_lost(account, uninterrupted):
    assert account.steps_lost == 4 + 1
    assert account.total("lost") == 5 + 1
    assert uninterrupted.steps_lost == 0 and uninterrupted.total("kept") == 10


def test_each_second_has_one_use(account):
    stretches = account.stretches()
    assert sum(account.total(use) for use in USES) == account.seconds == 11 + 3.5 + 5 + 2 + 12
    assert all(one.end == following.start for one, following in zip(stretches, stretches[1:], strict=False))
    assert account.losses == [11, 14.5, 19.5] and account.failed_starts == 1
    assert account.total("failed") == 2


def test_a_restart_is_told_by_its_parts(account):
    assert account.restarts() == [{"imports": 1, "setup": 1, "pull": 1, "load": 1, "first step": 1}] * 2


def test_the_picture_is_as_long_as_the_time(account, uninterrupted):
    drawn = ElementTree.fromstring(svg({"plain": uninterrupted, "a <way>": account}))
    bars = [element for element in drawn if element.get("height") == "20"]
    widths = [float(bar.get("width")) for bar in bars]
    ours = len(account.stretches())
    assert sum(widths[-ours:]) / sum(widths[:-ours]) == pytest.approx(
        account.seconds / uninterrupted.seconds, rel=0.01
    )


def test_another_end_is_told(account, uninterrupted):
    same = markdown({"plain": uninterrupted, "ours": account}, "", "goodput.svg")
    account.lives[-1].notes[-1] = (0, "result", {**RESULT, "weights": "other"})
    other = markdown({"plain": uninterrupted, "ours": account}, "", "goodput.svg")
    assert "as if never interrupted |  | yes |" in same and "as if never interrupted |  | **no** |" in other


def test_machines_are_lost_at_the_same_moments_for_all():
    assert moments(0, 3, 20.0) == moments(0, 3, 20.0) != moments(1, 3, 20.0)


def test_figures_have_a_place_in_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- figures of goodput begin here -->old<!-- figures of goodput end here -->\nAfter\n")
    put(page, "goodput", ["--seed", "1"], {"Processor": "one"}, "new\n")
    text = page.read_text()
    assert text.startswith("Before\n") and text.endswith("\nAfter\n") and "old" not in text
    assert "`python -m tests.benchmarks goodput --seed 1`" in text and "| Processor | one |" in text
    with pytest.raises(ValueError, match="no place"):
        put(page, "dcp", [], {}, "")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trainings_that_lose_their_machine_come_to_their_end(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- figures of goodput begin here --><!-- figures of goodput end here -->")
    ways = ["ours", "push-all"]
    command.main([*ways, *"--parameters 1e5 --steps 40 --save_steps 5 --losses 1".split(), "--page", str(page)])
    rows = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in page.read_text().splitlines() if "|" in row}
    assert [cell.strip() for cell in rows["weights at the end as if never interrupted"]] == ["", "yes", "yes"]
    assert all(cell.strip() for cell in rows["total time, s"])
    assert ElementTree.parse(tmp_path / "goodput.svg")
