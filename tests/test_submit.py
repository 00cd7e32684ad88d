"""Jobs submitted to a real cluster of three nodes that asks for a token, from another folder than the project's."""

from collections.abc import Iterator

import pytest
from real_nodes import Nodes, started
from tiny import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.beside]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with started(3, cpus=1) as made:
        yield made


def test_placeholder() -> None:
    assert ROOT
