"""Distilling on an autoscaled cluster that loses a node in the middle: another comes, and no trace is lost or changed.

tests/test_faults.py kills nodes of a cluster that a person mends; here nobody adds a node but Ray's autoscaler.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distilled import DRAWS, IN_FLIGHT, Distilling, Wanted, callers, wanted
from plain import content
from real_nodes import Nodes, autoscaled, killed, until

pytestmark = pytest.mark.ray

_NODES, _PROBLEMS = 2, 200


@pytest.fixture
def unbroken(tmp_path: Path) -> Iterator[Wanted]:
    """What is to be distilled, by as many callers as there are nodes."""
    folder = tmp_path / "unbroken"
    folder.mkdir()
    with wanted(folder, problems=_PROBLEMS, shards=16, callers=_NODES) as made:
        yield made


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two nodes of one CPU, and a third while one is replaced."""
    with autoscaled(_NODES + 1, least=_NODES) as made:
        until(lambda: made.workers == _NODES, seconds=60, what="the first nodes")
        yield made


def test_a_lost_node_is_replaced_and_only_its_calls_are_bought_again(
    unbroken: Wanted, nodes: Nodes, tmp_path: Path
) -> None:
    calls = _PROBLEMS * DRAWS
    with Distilling(unbroken, nodes, tmp_path) as run:
        run.until(lambda: callers(*nodes.raylets()) == _NODES, "two callers")
        run.until(lambda: unbroken.teacher.billed["requests"] > calls / 4, "a quarter of the calls")
        lost = next(each for each in reversed(nodes.raylets()) if callers(each))
        in_flight = callers(lost) * IN_FLIGHT
        finished = len(list((tmp_path / "runs" / "made" / "traces").glob("*.parquet")))
        killed(lost)
        at = run.until(lambda: nodes.workers == _NODES - 1, "a node less")
        back = run.until(lambda: nodes.workers == _NODES, "another node") - at
        held = run.ended()
    again = unbroken.teacher.billed["requests"] - calls
    print(f"another node in {back:.0f} s, the run {held:.0f} s, {finished} shards before, bought again {again}")
    assert content(tmp_path) == unbroken.traces
    assert in_flight > 0
    assert 0 <= again <= in_flight
