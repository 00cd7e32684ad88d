"""Judge the traces of a shard, each alone and beside the other draws of its problem."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import xxhash

from pipeline.choose import ChooseSettings
from pipeline.choosing.candidate import CANDIDATE_SCHEMA, Judged
from pipeline.choosing.sketch import sketch
from pipeline.prompts import join
from pipeline.record import Trace

Finding = tuple[str, str] | None
"""Why a trace is left out: a rule's name and what was found, or None."""
Count = Callable[[Sequence[str]], Sequence[int]]
"""The student's tokens of each text."""
Rules = Callable[[Trace, int], Finding]
"""The rules on one trace, given its length in student tokens."""
Leaks = Callable[[Sequence[Trace]], Sequence[Finding]]
"""What each trace shares with the benchmarks."""

_WHY_CHARACTERS = 200
_HASHES = 1 << 64


def judge(
    traces: Sequence[Trace],
    *,
    settings: ChooseSettings,
    seed: int,
    held_out: frozenset[str],
    count: Count,
    rules: Rules,
    leaks: Leaks,
) -> pa.Table:
    """The candidates of a shard, in the order of its traces. `held_out` are the ids of benchmark problems.

    What costs little is asked first: only traces that are fit so far, and wrong ones that a preference pair could need,
    are counted in tokens, read by the rules and looked up among the benchmarks.
    """
    judged = [_verdict(trace, held_out) for trace in traces]
    if settings.thought == "needed":
        _ask(judged, lambda one: None if one.trace.thought else ("no_thought", "the reply has no thought"))
    _same_text(judged)
    _agree(judged, settings)
    wanted = [one for one in judged if one.drop is None or (settings.pairs is not None and _wrong_but_whole(one))]
    texts = [join(thought=one.trace.thought, reply=one.trace.reply) for one in wanted]
    for one, tokens in zip(wanted, count(texts), strict=True):
        one.student_tokens = tokens
    sound = _sound(wanted, [rules(one.trace, one.student_tokens or 0) for one in wanted])
    sound = _sound(sound, leaks([one.trace for one in sound]))
    for one in sound:
        one.rejectable = one.drop is not None
    return _table(judged, settings, seed)


def _verdict(trace: Trace, held_out: frozenset[str]) -> Judged:
    if trace.drop is not None:
        return Judged(trace, trace.drop, _short(trace.why) or "the engine gave no reply")
    if trace.id in held_out:
        return Judged(trace, "in_benchmark", "its problem is one of a benchmark's")
    if trace.finish_reason == "length":
        return Judged(trace, "truncated", f"cut off after {trace.thought_tokens + trace.reply_tokens:,} tokens")
    if trace.finish_reason != "stop":
        return Judged(trace, f"finish_{trace.finish_reason}", "it did not end by itself")
    if trace.verdict != "correct":
        return Judged(trace, trace.verdict or "undecided", _short(trace.why))
    return Judged(trace)


def _ask(judged: Sequence[Judged], rule: Callable[[Judged], Finding]) -> None:
    for one in judged:
        if one.drop is None and (found := rule(one)) is not None:
            one.drop, one.why = found


def _same_text(judged: Sequence[Judged]) -> None:
    """Of a problem's fit traces with one text in one generation, the first drawn stays."""
    first: dict[tuple[str, str, str, str], int] = {}
    for one in sorted((one for one in judged if one.drop is None), key=lambda one: one.trace.draw):
        trace = one.trace
        draw = first.setdefault((trace.id, trace.generation, trace.thought, trace.reply), trace.draw)
        if draw != trace.draw:
            one.drop, one.why = "same_text", f"the text of draw {draw}"


def _agree(judged: Sequence[Judged], settings: ChooseSettings) -> None:
    votes: dict[tuple[str, str], Counter[int | None]] = defaultdict(Counter)
    for one in judged:
        if one.trace.drop is None:
            votes[one.trace.id, one.trace.generation][one.trace.vote] += 1
    for one in judged:
        trace, cast = one.trace, votes[one.trace.id, one.trace.generation]
        if trace.vote is not None and trace.drop is None:
            one.agreement = cast[trace.vote] / cast.total()
    _ask(judged, lambda one: _disagrees(one, votes[one.trace.id, one.trace.generation], settings))


def _disagrees(one: Judged, cast: Counter[int | None], settings: ChooseSettings) -> Finding:
    wanted = settings.agreement
    if wanted.at_least == 0 and wanted.majority == "any":
        return None
    vote = one.trace.vote
    if vote is None or one.agreement is None:
        return "few_agree", "its answer was not compared with those of the other draws"
    if one.agreement < wanted.at_least:
        return "few_agree", f"{cast[vote]} of {cast.total()} draws gave this answer"
    others = max((number for other, number in cast.items() if other not in (vote, None)), default=0)
    if wanted.majority == "gold" and cast[vote] <= others:
        return "no_majority", f"{cast[vote]} draws gave this answer and {others} another"
    return None


def _wrong_but_whole(one: Judged) -> bool:
    return one.drop == "wrong" and bool(one.trace.reply or one.trace.thought)


def _sound(asked: Sequence[Judged], findings: Sequence[Finding]) -> list[Judged]:
    """Those of which nothing was found; a fit one of which something was is dropped for it."""
    for one, found in zip(asked, findings, strict=True):
        if found is not None and one.drop is None:
            one.drop, one.why = found
    return [one for one, found in zip(asked, findings, strict=True) if found is None]


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= _WHY_CHARACTERS:
        return text
    return text[: _WHY_CHARACTERS - 3] + "..."


def _table(judged: Sequence[Judged], settings: ChooseSettings, seed: int) -> pa.Table:
    traces = [one.trace for one in judged]
    clusters = [trace.cluster or trace.id for trace in traces]
    sketches: list[bytes | None] = [None] * len(traces)
    if settings.variety.apart:
        by_problem = {one.trace.id: one.trace.prompt for one in judged if one.drop is None}
        known = {identifier: sketch(prompt) for identifier, prompt in by_problem.items()}
        sketches = [known.get(trace.id) for trace in traces]
    columns: dict[str, list[Any]] = {
        name: [getattr(trace, name) for trace in traces]
        for name in ("id", "generation", "draw", "source", "licence", "subject", "level", "pass_rate")
    } | {
        "place": [_place(seed, trace) for trace in traces],
        "cluster": clusters,
        "tokens": [trace.thought_tokens + trace.reply_tokens for trace in traces],
        "student_tokens": [one.student_tokens for one in judged],
        "agreement": [one.agreement for one in judged],
        "validation": [in_validation(cluster, share=settings.validation, seed=seed) for cluster in clusters],
        "sketch": sketches,
        "rejectable": [one.rejectable for one in judged],
        "drop": [one.drop for one in judged],
        "drop_why": [one.why for one in judged],
    }
    return pa.table({name: columns[name] for name in CANDIDATE_SCHEMA.names}, schema=CANDIDATE_SCHEMA)


def _place(seed: int, trace: Trace) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}:{trace.id}:{trace.generation}:{trace.draw}".encode())


def in_validation(cluster: str, *, share: float, seed: int) -> bool:
    """Whether a problem cluster is held back; all its problems are, in whichever shard they lie."""
    return xxhash.xxh3_64_intdigest(f"{seed}:validation:{cluster}".encode()) < share * _HASHES
