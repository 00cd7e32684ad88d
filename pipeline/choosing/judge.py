"""Judge the traces of a shard, each alone and beside the other draws of its problem."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.alike.match import Matched
from pipeline.choose import ChooseSettings
from pipeline.choosing.candidate import CANDIDATE_SCHEMA, Judged, Told
from pipeline.choosing.sketch import sketch
from pipeline.prompts import join
from pipeline.record import Trace, from_table

Finding = tuple[str, str] | None
"""Why a trace is left out: a rule's name and what was found, or None."""
Count = Callable[[Sequence[str]], Sequence[int]]
"""The student's tokens of each text."""
Rules = Callable[[Trace, int], Finding]
"""The rules on one trace, given its length in student tokens."""
Leaks = Callable[[Sequence[Trace]], Sequence[tuple[str, Matched] | None]]
"""Of each trace that recites a held-out problem: what was found in one line, and with both texts."""

Parts = Callable[[], Iterable[pa.Table]]
"""A shard's traces in parts of bounded size, each time from the first."""
Found = Callable[[Sequence[Matched]], None]
"""Takes what recites a held-out problem."""

_WHY_CHARACTERS = 200
# Draws of one problem follow each other.
_PROMPTS_KNOWN = 64
_HASHES = 1 << 64


def judge(
    parts: Parts,
    *,
    settings: ChooseSettings,
    seed: int,
    held_out: frozenset[str],
    count: Count,
    rules: Rules,
    leaks: Leaks,
    found: Found,
) -> pa.Table:
    """The candidates of a shard, in the order of its traces; `found` is given what recites a held-out problem.

    `held_out` are the ids of benchmark problems. Texts are held a part at a time: `parts` is asked twice, for what
    compares a problem's draws and for what looks into each.

    What costs little is asked first: only traces that are fit so far, and wrong ones that a preference pair could need,
    are counted in tokens, read by the rules and looked up among the benchmarks.
    """
    judged = [_verdict(trace, held_out) for part in parts() for trace in _told(part)]
    _same_text(judged)
    _agree(judged, settings)
    sketches: dict[str, bytes] = {}
    sketched = lru_cache(maxsize=_PROMPTS_KNOWN)(sketch)
    first = 0
    for part in parts():
        asked = _asked(judged[first : first + part.num_rows], part, settings)
        first += part.num_rows
        fit = _look(asked, count=count, rules=rules, leaks=leaks, found=found)
        if settings.variety.apart:
            sketches.update((trace.id, sketched(trace.prompt)) for trace in fit)
    return _table(judged, sketches, settings, seed)


def _told(part: pa.Table) -> list[Told]:
    """The small columns of traces, with what tells their texts apart."""
    # xxh3_128 twice: that two texts of a problem are one by chance is not to be expected.
    texts = [
        xxhash.xxh3_128_digest(thought.as_buffer()) + xxhash.xxh3_128_digest(reply.as_buffer())
        if len(thought.as_buffer()) + len(reply.as_buffer())
        else b""
        for thought, reply in zip(part["thought"], part["reply"], strict=True)
    ]
    # Of a reason more is never shown.
    why = pc.utf8_slice_codeunits(part["why"], 0, _WHY_CHARACTERS + 1)
    told = part.set_column(part.schema.get_field_index("why"), "why", why).append_column(
        "text", pa.array(texts, pa.binary())
    )
    return from_table(told, Told)


def _asked(judged: Sequence[Judged], part: pa.Table, settings: ChooseSettings) -> list[tuple[Judged, Trace]]:
    """Those whose texts are to be looked into: fit so far, or wrong where a preference pair could need one."""
    pairs = settings.pairs is not None
    rows = [row for row, one in enumerate(judged) if one.drop is None or (pairs and _wrong_but_whole(one))]
    traces = from_table(part.take(pa.array(rows, pa.int64())), Trace)
    return [(judged[row], trace) for row, trace in zip(rows, traces, strict=True)]


def _look(
    asked: Sequence[tuple[Judged, Trace]], *, count: Count, rules: Rules, leaks: Leaks, found: Found
) -> list[Trace]:
    """Judge traces by what is in them; returns those that are fit."""
    tokens = count([join(thought=trace.thought, reply=trace.reply) for _, trace in asked])
    for (one, _), number in zip(asked, tokens, strict=True):
        one.student_tokens = number
    sound = _sound(asked, [rules(trace, one.student_tokens or 0) for one, trace in asked])
    recited = leaks([trace for _, trace in sound])
    if matched := [line[1] for line in recited if line is not None]:
        found(matched)
    sound = _sound(sound, [None if line is None else ("trace_in_benchmark", line[0]) for line in recited])
    for one, _ in sound:
        one.rejectable = one.drop is not None
    return [trace for one, trace in sound if one.drop is None]


def _verdict(trace: Told, held_out: frozenset[str]) -> Judged:
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
    first: dict[tuple[str, str, bytes], int] = {}
    for one in sorted((one for one in judged if one.drop is None), key=lambda one: one.trace.draw):
        trace = one.trace
        draw = first.setdefault((trace.id, trace.generation, trace.text), trace.draw)
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
    return one.drop == "wrong" and one.trace.text != b""


def _sound(asked: Sequence[tuple[Judged, Trace]], findings: Sequence[Finding]) -> list[tuple[Judged, Trace]]:
    """Those of which nothing was found; a fit one of which something was is dropped for it."""
    for (one, _), found in zip(asked, findings, strict=True):
        if found is not None and one.drop is None:
            one.drop, one.why = found
    return [each for each, found in zip(asked, findings, strict=True) if found is None]


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= _WHY_CHARACTERS:
        return text
    return text[: _WHY_CHARACTERS - 3] + "..."


def _table(judged: Sequence[Judged], sketches: Mapping[str, bytes], settings: ChooseSettings, seed: int) -> pa.Table:
    traces = [one.trace for one in judged]
    clusters = [trace.cluster or trace.id for trace in traces]
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
        "sketch": [sketches.get(trace.id) for trace in traces],
        "rejectable": [one.rejectable for one in judged],
        "drop": [one.drop for one in judged],
        "drop_why": [one.why for one in judged],
    }
    return pa.table({name: columns[name] for name in CANDIDATE_SCHEMA.names}, schema=CANDIDATE_SCHEMA)


def _place(seed: int, trace: Told) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}:{trace.id}:{trace.generation}:{trace.draw}".encode())


def in_validation(cluster: str, *, share: float, seed: int) -> bool:
    """Whether a problem cluster is held back; all its problems are, in whichever shard they lie."""
    return xxhash.xxh3_64_intdigest(f"{seed}:validation:{cluster}".encode()) < share * _HASHES
