"""What a comparison of two answers comes to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.maths.tree import Expr


@dataclass(frozen=True, slots=True)
class Outcome:
    """`says` is same, different or unsure; `why` the rule."""

    says: Literal["same", "different", "unsure"]
    why: str


Values = Callable[[Expr, Expr], Outcome]
"""How two values are compared that are no plain numbers: gold first."""


def all_same(outcomes: Sequence[Outcome], *, doubt: bool = False) -> Outcome:
    """All must be the same; with `doubt` a difference in a part is no difference of the whole."""
    for outcome in outcomes:
        if outcome.says == "different":
            return Outcome("unsure" if doubt else "different", outcome.why)
    return next((outcome for outcome in outcomes if outcome.says == "unsure"), Outcome("same", "each part"))
