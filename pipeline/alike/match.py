"""What is written of each problem and trace that matched a held-out problem: both texts, for a person to judge."""

from dataclasses import dataclass

from pipeline.alike.overlap import Match

SHOWN_CHARS = 4000
"""Longer texts are cut at so many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One text of ours and the held-out problem in it.

    `where` is prompt or trace; `id` and `source` are the problem's; `score` is the share of the held-out problem that
    is covered, or for benchmark_near of the words of both that is in both; `shared` is their longest common run of
    canonical words.
    """

    where: str
    id: str
    source: str
    layer: str
    benchmark: str
    benchmark_id: str
    score: float
    shared: str
    text: str
    benchmark_text: str


def matched(match: Match, *, where: str, id: str, source: str, text: str) -> Matched:
    """The row that is written of a match."""
    return Matched(
        where=where,
        id=id,
        source=source,
        layer=match.layer,
        benchmark=match.benchmark,
        benchmark_id=match.benchmark_id,
        score=match.score,
        shared=match.shared[:SHOWN_CHARS],
        text=text[:SHOWN_CHARS],
        benchmark_text=match.theirs[:SHOWN_CHARS],
    )


def why(match: Match) -> str:
    """What was found, for the row's drop_why."""
    said = match.shared if len(match.shared) <= 120 else match.shared[:117] + "..."
    theirs = f"{match.benchmark} {match.benchmark_id[:8]}"
    if match.layer == "in_benchmark":
        return f"the same text as {theirs}"
    if match.layer == "benchmark_ngram":
        return f"{match.score:.0%} of {theirs}, such as: {said}"
    return f"{match.score:.0%} of the words, and the numbers, of {theirs}; both say: {said}"
