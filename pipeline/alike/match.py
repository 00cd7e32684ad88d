"""What is written of each problem and trace that matched a held-out problem: both texts, for a person to judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.alike.overlap import Index, Match
from pipeline.alike.words import words
from pipeline.conversations import Messages, asked, said
from pipeline.prompts import join
from pipeline.record import Trace

SHOWN_CHARS = 4000
"""Of a longer text the part is written, so many characters long, that has the most of what is shared."""
_WHY_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One text of ours and the held-out problem that is in it.

    `where` is prompt or trace; `id` and `source` are the problem's, `draw` is the trace's (None for a prompt); `score`
    is the share of the held-out problem that is covered, or for benchmark_near of the words of both that is in both;
    `shared` is their longest common run of canonical words.
    """

    where: str
    id: str
    source: str
    draw: int | None = None
    layer: str
    benchmark: str
    benchmark_id: str
    score: float
    shared: str
    text: str
    benchmark_text: str


def matched(match: Match, *, where: str, id: str, source: str, text: str, draw: int | None = None) -> Matched:
    """The row that is written of a match."""
    common = match.shared.split()
    return Matched(
        where=where,
        id=id,
        source=source,
        draw=draw,
        layer=match.layer,
        benchmark=match.benchmark,
        benchmark_id=match.benchmark_id,
        score=match.score,
        shared=match.shared[:SHOWN_CHARS],
        text=_part(text, common),
        benchmark_text=_part(match.theirs, common),
    )


def why(match: Match) -> str:
    """What was found, in one line, for a row's drop_why."""
    theirs = f"{match.benchmark} {match.benchmark_id[:8]}"
    if match.layer == "in_benchmark":
        return f"the same text as {theirs}"
    shared = match.shared if len(match.shared) <= _WHY_CHARS else match.shared[: _WHY_CHARS - 3] + "..."
    if match.layer == "benchmark_ngram":
        return f"has {match.score:.0%} of {theirs}: {shared}"
    return f"{match.score:.0%} like {theirs}, with its numbers; both have: {shared}"


def leaked(held: Sequence[Messages], *, index: Index) -> list[tuple[str, str] | None]:
    """Of each conversation that asks or recites a held-out problem: the rule that found it, and what, in one line.

    Each message is looked at by itself: a short problem, or one in other words, is not found inside a longer text.
    """
    prompts = [(number, text) for number, messages in enumerate(held) for text in asked(messages)]
    replies = [(number, text) for number, messages in enumerate(held) for text in said(messages)]
    own = ["\n\n".join(asked(held[number])) for number, _ in replies]
    found: list[tuple[str, str] | None] = [None] * len(held)
    for (number, _), match in zip(replies, index.traces([text for _, text in replies], own=own), strict=True):
        if match is not None:
            found[number] = ("trace_in_benchmark", why(match))
    for (number, _), match in zip(prompts, index.prompts([text for _, text in prompts]), strict=True):
        if match is not None:
            found[number] = (match.layer, why(match))
    return found


def _part(text: str, shared: Sequence[str]) -> str:
    """The text, or the part of a long one that holds the most neighbours of the shared run."""
    if len(text) <= SHOWN_CHARS:
        return text
    looked_for = _neighbours(shared)
    starts = range(0, len(text), SHOWN_CHARS // 2)
    best = max(starts, key=lambda at: len(looked_for & _neighbours(words(text[at : at + SHOWN_CHARS]))))
    return text[best : best + SHOWN_CHARS]


def _neighbours(run: Sequence[str]) -> set[tuple[str, ...]]:
    return set(zip(run, run[1:], run[2:], strict=False))


def recited(traces: Sequence[Trace], *, index: Index | None) -> list[tuple[str, Matched] | None]:
    """Of each trace that recites a held-out problem: what was found in one line, and with both texts."""
    if index is None:
        return [None] * len(traces)
    texts = [join(thought=trace.thought, reply=trace.reply) for trace in traces]
    found = index.traces(texts, own=[trace.prompt for trace in traces])
    return [
        None
        if match is None
        else (why(match), matched(match, where="trace", id=trace.id, source=trace.source, text=text, draw=trace.draw))
        for trace, text, match in zip(traces, texts, found, strict=True)
    ]
