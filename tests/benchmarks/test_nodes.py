"""What a save costs rank zero does not grow with the nodes, where that can be."""

import pytest

from tests.benchmarks.nodes import RANKS, measure, table


@pytest.mark.slow
def test_rank_zero_makes_as_many_requests_for_four_nodes_as_for_two(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    found = [measure(tmp_path / str(nodes), nodes, saves=2) for nodes in (2, 4)]
    for each in found:
        for one in each["rounds"]:
            requests = hub.requests(f"/api/buckets/.*many-nodes-{each['nodes']}")
            one["requests"] = sum(one["start"] <= request.time < one["end"] for request in requests)

    assert [one["requests"] for one in found[0]["rounds"]] == [one["requests"] for one in found[1]["rounds"]]
    assert [each["files"] for each in found] == [3 * RANKS * 2 + 2, 3 * RANKS * 4 + 2]
    assert "| requests of rank zero to the Hub |" in table(found)
