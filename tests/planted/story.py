"""What a story for a filler problem is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Words = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """A structure of a problem: the ranges of its numbers a, b, c..., its sentences, each in several wordings."""

    ranges: tuple[tuple[int, int], ...]
    answer: Callable[[Words], int]
    sentences: tuple[tuple[str, ...], ...]

    def derived(self) -> tuple[str, ...]:
        """The names of the derived numbers that the sentences ask for."""
        said = "".join(choice for choices in self.sentences for choice in choices)
        return tuple(name for name in DERIVED if f"{{{name}}}" in said)


# What a sentence asks for beside the story's own numbers.
DERIVED: Mapping[str, Callable[[Words], int]] = {
    "total8": lambda w: 2 * (w["b"] + w["c"]) + w["a"],
    "total9": lambda w: w["a"] * w["b"] + w["c"] * w["d"],
    "total10": lambda w: w["c"] + w["d"] * (w["a"] - w["b"]),
    "total14": lambda w: w["a"] * w["c"],
    "total20": lambda w: (w["a"] + w["b"]) * w["c"],
    "t1": lambda w: w["a"] * w["c"] + w["b"] * w["d"],
    "t2": lambda w: w["b"] * w["c"] - w["a"] * w["d"],
    "t3": lambda w: w["c"] + w["a"],
    "t4": lambda w: w["c"] + w["b"],
    "ab": lambda w: w["a"] + w["b"],
    "ba": lambda w: w["b"] - w["a"],
    "a2": lambda w: 2 * w["a"],
    "b2": lambda w: 2 * w["b"],
    "c1000": lambda w: w["c"] + 1000,
}
