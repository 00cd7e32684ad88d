"""The funnel: from the rows read to the examples, every rule with its rows, from the summaries of the steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """What came in at a step, what each reason took out, and what stayed."""

    step: str
    comes: str
    stays: str
    came: int
    dropped: Mapping[str, int]
    kept: int

    @property
    def lost(self) -> int:
        """Rows that neither stayed nor have a reason: 0 unless something is wrong."""
        return self.came - self.kept - sum(self.dropped.values())

    @property
    def shares(self) -> dict[str, float]:
        """Each reason's share of what came in."""
        return {name: count / self.came for name, count in self.dropped.items() if self.came}


def stages(curated: Summary, distilled: Summary, chosen: Summary, *, examples: int) -> list[Stage]:
    """The steps that take something out, as far as there are summaries of them.

    distill takes nothing out: each of its traces is either chosen or has the reason why not, its verdict or another.
    """
    found = []
    if curated:
        kept = int(curated.get("kept", 0))
        dropped = _largest(curated.get("dropped", {}))
        came = int(curated.get("in", kept + sum(dropped.values())))
        found.append(Stage("curate", "rows read", "problems", came, dropped, kept))
    if chosen:
        dropped = _largest(chosen.get("dropped", {}))
        came = int(distilled.get("traces", examples + sum(dropped.values())))
        found.append(Stage("choose", "traces", "examples", came, dropped, examples))
    return found


def _largest(dropped: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((name, count) for name, count in dropped.items() if count), key=lambda x: (-x[1], x[0])))
