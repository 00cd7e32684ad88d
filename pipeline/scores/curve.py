"""The paper's own measure (2411.16489): accuracy against mean output tokens, as a curve for every model.

From runs whose thoughts were cut to a budget, through pass@1 at the model's own length, to the majority of k draws at k
times its tokens. A run with a budget is named MODEL@TOKENS, such as student@512.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Literal

from pipeline.scores.intervals import wilson
from pipeline.scores.paired import fisher
from pipeline.scores.score import Score


@dataclass(frozen=True, slots=True)
class Point:
    """An accuracy from 0 to 1 at a mean number of output tokens a problem."""

    label: str
    kind: Literal["forced", "pass", "majority", "published"]
    tokens: float
    accuracy: float
    ci95: tuple[float, float]

    def as_json(self) -> dict[str, object]:
        """Its fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Published:
    """What a paper says of a model: one answer a problem, the share that was right, and mean output tokens."""

    model: str
    percent: float
    problems: int
    tokens: float

    @property
    def right(self) -> int:
        """Problems solved."""
        return round(self.percent / 100 * self.problems)

    @property
    def point(self) -> Point:
        """It as a point of the curve, with Wilson's interval."""
        share = self.percent / 100
        return Point(self.model, "published", self.tokens, share, wilson(share * self.problems, self.problems))


_AIME24 = (
    Published("o1-preview", 100 * 12 / 30, 30, 9083),
    Published("o1-mini", 100 * 21 / 30, 30, 9903),
    Published("the paper's 72B", 100 * 13 / 30, 30, 8016),
)
_MATH500 = (
    Published("o1-preview", 85.5, 500, 1501),
    Published("o1-mini", 90.0, 500, 944),
    Published("the paper's 72B", 87.2, 500, 2235),
)
_PUBLISHED = {"aime24": _AIME24, "aime2024": _AIME24, "math500": _MATH500}


def budget_of(name: str) -> tuple[str, int | None]:
    """The model and the thought budget that a name stands for, tokens; None without one."""
    model, at, tokens = name.rpartition("@")
    return (model, int(tokens)) if model and at and re.fullmatch(r"[0-9]{1,9}", tokens) else (name, None)


def curve(scores: Mapping[str, Score]) -> dict[str, list[Point]]:
    """The points of every model, from few tokens to many: budgets, then pass@1, then majorities; scored ones only."""
    points: dict[str, list[Point]] = {}
    for name, score in scores.items():
        if score.pass_at_1 is None or score.ci95 is None:
            continue
        model, budget = budget_of(name)
        held = points.setdefault(model, [])
        if budget is not None:
            held.append(Point(f"thought <= {budget}", "forced", score.mean_tokens, score.pass_at_1, score.ci95))
            continue
        held.append(Point("pass@1", "pass", score.mean_tokens, score.pass_at_1, score.ci95))
        held += [
            Point(f"maj@{at.k}", "majority", at.k * score.mean_tokens, at.share, at.ci95)
            for at in score.maj_at
            if at.k > 1
        ]
    order = ("forced", "pass", "majority")
    return {
        model: sorted(held, key=lambda point: (order.index(point.kind), point.tokens)) for model, held in points.items()
    }


def published(benchmark: str) -> Sequence[Published]:
    """What the paper gives for a benchmark called aime24, aime2024 or math500, in any writing; nothing for others."""
    return _PUBLISHED.get(re.sub(r"[^a-z0-9]", "", benchmark.lower()), ())


def told_apart(figures: Sequence[Published]) -> list[tuple[Published, Published, float]]:
    """All pairs of published figures with the p-value that they differ (Fisher's exact test)."""
    return [(a, b, fisher(a.right, a.problems, b.right, b.problems)) for a, b in combinations(figures, 2)]
