"""The first rows of a source, read and judged as the run will do it: a wrong field shows before anything is bought."""

import itertools
from collections import Counter
from dataclasses import dataclass

from pipeline.curate import CurateSettings, problems_of
from pipeline.errors import Stop
from pipeline.record import Problem
from pipeline.sources import GymSource, Source, field_names, slices

FIRST = 50
# Rows may be sorted: only so many without an answer say that it is looked for in the wrong place.
_FURTHER = 1000
_SHOWN_CHARS = 60
_SHOWN_FIELDS = 30


@dataclass(frozen=True, slots=True)
class FirstRows:
    """What becomes of a source's first rows by the rules that look at one row."""

    rows: int
    dropped: Counter[str]
    example: Problem | None
    """The first that is kept, else the first that has a prompt."""


def first_rows(source: Source, *, settings: CurateSettings) -> FirstRows:
    """Read and judge the first rows. Raises Stop when all rows lack what the recipe says a field holds."""
    problems = _first(source, settings, FIRST)
    if _lacking(problems) is not None:
        further = _first(source, settings, _FURTHER)
        lacking = _lacking(further)
        if lacking is not None:
            raise Stop(f"source {source.name}: {_wrong_place(source, lacking, settings, rows=len(further))}")
    kept = (problem for problem in problems if problem.drop is None)
    told = (problem for problem in problems if problem.prompt)
    dropped = Counter(problem.drop for problem in problems if problem.drop is not None)
    return FirstRows(len(problems), dropped, next(itertools.chain(kept, told), None))


def _first(source: Source, settings: CurateSettings, count: int) -> list[Problem]:
    few = _limited(source, count)
    problems = (problem for part in slices(few) for problem in problems_of(few, part, settings=settings))
    return list(itertools.islice(problems, count))


def _limited(source: Source, count: int) -> Source:
    # A limit of its own keeps files from being cut into slices, for which all of them is read.
    return source.model_copy(update={"limit": min(count, source.limit or count)})


def _lacking(problems: list[Problem]) -> str | None:
    """`prompt` or `answer`, if no row that can be read has one; None where some have both, or no row can be read."""
    readable = [problem for problem in problems if problem.drop != "unreadable"]
    asked = [problem for problem in readable if problem.prompt or problem.raw_prompt]
    if not readable:
        return None
    if not asked:
        return "prompt"
    return None if any(problem.answer or problem.raw_answer for problem in asked) else "answer"


def _wrong_place(source: Source, lacking: str, settings: CurateSettings, *, rows: int) -> str:
    if isinstance(source, GymSource):
        fix = "; kind: gym has its scorer judge instead" if source.kind != "gym" else ""
        return f"task {source.task!r} gives no {lacking} in its first {rows:,} problems{fix}"
    if lacking == "answer" and source.answer_regex is not None:
        bare = _first(source.model_copy(update={"answer_regex": None}), settings, rows)
        found = next((text for one in bare if (text := one.raw_answer or one.answer)), None)
        if found is not None:
            said = f"answer_regex={source.answer_regex!r} finds no answer in the first {rows:,} rows"
            return f"{said}; the first of them is {shortened(found)!r}"
    field = source.fields.prompt if lacking == "prompt" else source.fields.answer
    few = source.model_copy(update={"limit": rows})
    names = field_names(few, slices(few)[0])
    shown = [*map(shortened, names[:_SHOWN_FIELDS]), *(["..."] if len(names) > _SHOWN_FIELDS else [])]
    there = ", ".join(shown)
    said = f"no {lacking} in field {field!r} of the first {rows:,} rows"
    return f"{said}; set fields.{lacking} to the one that holds it, they have: {there or 'no text at all'}"


def shortened(text: str, *, most: int = _SHOWN_CHARS) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 10 * most].split())
    return line if len(line) <= most and len(text) <= 10 * most else f"{line[:most].rstrip()} ..."
