"""What the tests take from the command line."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The size of the fault suite: `make faults N=300 SEED=1` sets both."""
    parser.addoption("--kills", type=int, default=30, help="how many kills the fault suite makes")
    parser.addoption("--seed", type=int, default=1, help="the seed that its kills are drawn from")
