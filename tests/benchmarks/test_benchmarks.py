"""The benchmark counts what it says it counts. How long things take is not tested."""

import pytest

from tests.benchmarks import report, shards
from tests.benchmarks.bench import traffic
from tests.benchmarks.findings import Findings
from tests.benchmarks.pulls import pull_in_turns
from tests.benchmarks.pushes import push_in_turns
from tests.benchmarks.summary import Ratio
from tests.benchmarks.targets import targets
from tests.benchmarks.trainings import train
from transformers_buckets import CheckpointBucket


TINY = 1e4
ALL = ["a", "b", "c", "d", "e"]


@pytest.fixture
def trainings(hub, tmp_path):
    return [
        {"letter": letter, "parameters": TINY, **train(letter, tmp_path / letter, TINY, 0, 2, 2)} for letter in ALL
    ]


@pytest.fixture(scope="module")
def pushes(session_hub, tmp_path_factory):
    pushes = push_in_turns(tmp_path_factory.mktemp("pushes"), TINY, 1)
    return [{**push, **traffic(session_hub, push["start"], push["end"])} for push in pushes]


@pytest.fixture
def pulls(hub, tmp_path):
    return [{**pull, **traffic(hub, pull["start"], pull["end"])} for pull in pull_in_turns(tmp_path / "q", TINY, 1)]


@pytest.mark.slow
def test_a_report_has_a_column_for_each_way_and_a_verdict_for_each_target(
    trainings, pushes, pulls, tmp_path, monkeypatch
):
    grown = [{"letter": letter, "checkpoints": 10, "first": 9, "later": 8} for letter in "bcd"]
    findings = Findings(trainings, [], grown, pushes, pulls)
    monkeypatch.setattr(report, "draw", lambda *_: None)  # it needs matplotlib, which tests do without
    page = tmp_path / "page.md"
    page.write_text("<!-- figures of saves begin here --><!-- figures of saves end here -->")
    report.write(page, findings, ["--rounds", "1"], {"Processor": "one"})

    for letter in ALL:
        assert f"({letter}) {report.NAMES[letter]}" in page.read_text()
    assert len(findings.stops("d")) == 1 and findings.landing("d")[0] > 0
    assert {target.promise: target.verdict for target in targets(findings)}.items() >= {
        ("nothing but the file of the run sent for the root snapshot", "met"),
        ("nothing but that and the manifest sent for a repeated push", "met"),
        ("requests per save constant as the bucket grows", "met"),
        ("0 bytes received for an intact local copy", "met"),
    }
    assert [target.measured for target in targets(findings) if "async_save stops" in target.promise]


@pytest.mark.slow
def test_every_way_sends_the_whole_checkpoint_because_its_content_is_new(pushes):
    for way in ("alone", "b", "c", "d"):
        (push,) = [push for push in pushes if push["way"] == way]
        assert push["data_sent"] > 0.5 * push["size"], way


@pytest.mark.slow
def test_a_bucket_grows_by_committed_checkpoints(hub, tmp_path):
    training = train("d", tmp_path, TINY, seed=0, saves=2, steps_between=2, grown_to=3)

    request = hub.requests("POST .*/batch")[0]
    bucket_id = "/".join(request.path.split("/")[3:5])
    states = [checkpoint.state for checkpoint in CheckpointBucket(bucket_id).checkpoints()]
    assert states == ["committed"] * (3 + len(training["saves"]))


def test_noise_is_told_from_a_miss():
    steady = [1.0, 1.01, 0.99, 1.0]

    assert Ratio.of([1.5, 1.51, 1.49, 1.5], steady).verdict(at_most=1.1) == "missed"
    assert Ratio.of([0.9, 1.2, 1.15, 1.25], steady).verdict(at_most=1.1) == "missed, within the noise of this run"
    assert Ratio.of(steady, steady).verdict(at_most=1.1) == "met"
    assert Ratio.of(steady, [2 * figure for figure in steady]).verdict(at_least=1.0) == "missed"


def test_nodes_that_share_nothing_get_their_part_of_the_partitions(hub, tmp_path):
    whole, *each = shards.pulls(hub, tmp_path, "ZeRO-3", nodes=2, ranks_of_one=2, parameters=100_000)

    assert [on_disk for _, on_disk in each] == pytest.approx([whole[1] / 2] * 2, rel=0.02)
    assert [received for received, _ in each] == pytest.approx([whole[0] / 2] * 2, rel=0.02)
