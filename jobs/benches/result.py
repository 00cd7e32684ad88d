"""What a benchmark returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One figure against its peer's; `ratio` is ours / peer, or peer / ours where less is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    goal: float
