"""What could not be judged, and why: the undecided traces of a folder by reason, and those whose checks disagree."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow.compute as pc

from pipeline.maths.symbolic import DISAGREE
from pipeline.store import Store

_COLUMNS = ("id", "generation", "prompt", "answer", "verdict", "found", "why")
_LONGEST = 300
_REASON = 80


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A trace whose checks disagree; texts are cut to 300 characters."""

    where: str
    prompt: str
    gold: str
    found: str
    why: str


@dataclass(slots=True)
class Doubts:
    """Undecided traces: how many for each reason, and some of those whose checks disagree."""

    reasons: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def undecided(self) -> int:
        """All of them."""
        return self.reasons.total()


def look(store: Store, folder: str, doubts: Doubts, *, where: str, most: int) -> None:
    """Add the undecided traces of a folder's shards, and up to so many disagreements in all. Reads no replies."""
    for name in store.names(folder, ".parquet"):
        table = store.read_columns(f"{folder}/{name}", _COLUMNS)
        for line in table.filter(pc.equal(table["verdict"], "undecided")).to_pylist():
            why = line["why"] or "no reason given"
            # What stands behind a colon is of that one row.
            doubts.reasons[why.partition(":")[0][:_REASON]] += 1
            if why.startswith(DISAGREE) and len(doubts.disagreements) < most:
                texts = (line["prompt"], line["answer"], line["found"] or "nothing", why)
                doubts.disagreements.append(Disagreement(where, *(_cut(text) for text in texts)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
