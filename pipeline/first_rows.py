"""The first rows of a source, read and judged as the run will do it: a wrong field shows before anything is bought.

Rows may be sorted. So files are read on, as far as it takes, until a row has what the first ones lack.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.curate import CurateSettings, problems_of
from pipeline.errors import Stop
from pipeline.record import Problem
from pipeline.sources import FileSource, GymSource, HfSource, Raw, Source, field_names, read, slices

FIRST = 50
# Of what must be fetched or made no more is read for a look; and no more rows are asked for the names of their fields.
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
    warning: str | None = None
    """What the first rows lack that the recipe says a field holds, and from which row on it is there, where found."""


@dataclass(frozen=True, slots=True)
class _Search:
    """How far a source was read for a prompt and an answer."""

    rows: int
    readable: bool
    """Whether any of them could be read."""
    found: dict[str, int]
    """`prompt`, `answer` -> the first row that has one, counted from 1; nothing for what none has."""


def first_rows(source: Source, *, settings: CurateSettings) -> FirstRows:
    """Read and judge the first rows. Raises Stop when no row of all has what the recipe says a field holds.

    Of a Hub data set, which is not fetched for a look, 1,000 rows without it are a warning; of a generator, a Stop.
    """
    few = _limited(source, FIRST)
    judged = (problem for part in slices(few) for problem in problems_of(few, part, settings=settings))
    problems = list(itertools.islice(judged, FIRST))
    warning = _searched(source) if _lacking(problems) else None
    kept = (problem for problem in problems if problem.drop is None)
    told = (problem for problem in problems if problem.prompt)
    dropped = Counter(problem.drop for problem in problems if problem.drop is not None)
    return FirstRows(len(problems), dropped, next(itertools.chain(kept, told), None), warning)


def _limited(source: Source, count: int) -> Source:
    # A limit of its own keeps files from being cut into slices, for which all of them is read.
    return source.model_copy(update={"limit": min(count, source.limit or count)})


def _lacking(problems: list[Problem]) -> bool:
    """Whether none has a prompt or none has an answer, as the source has them; not of a source without rows."""
    asked = any(problem.prompt or problem.raw_prompt for problem in problems)
    answered = any(problem.answer or problem.raw_answer for problem in problems)
    return bool(problems) and not (asked and answered)


def _searched(source: Source) -> str | None:
    """Read on; the warning, or None where there is nothing to say. Raises Stop for what no row has."""
    search, said = _search(source), []
    for lacking in ("prompt", "answer"):
        at = search.found.get(lacking)
        if at is None and search.readable:
            wrong = _wrong_place(source, lacking, rows=search.rows)
            if not isinstance(source, HfSource) or _all_read(source, search.rows):
                raise Stop(f"source {source.name}: {wrong}")
            said.append(wrong)
        elif at is not None and at > FIRST:
            said.append(f"no {lacking} in the first {at - 1:,} rows, row {at:,} is the first that has one")
    return "; ".join(said) or None


def _search(source: Source) -> _Search:
    found: dict[str, int] = {}
    rows, readable = 0, False
    for rows, raw in enumerate(_raw_rows(source), start=1):
        readable = readable or raw.unreadable is None
        for name, text in (("prompt", raw.prompt), ("answer", raw.answer)):
            if text:
                found.setdefault(name, rows)
        if len(found) == 2:
            break
    return _Search(rows, readable, found)


def _raw_rows(source: Source) -> Iterator[Raw]:
    """The rows that may be looked through, no rule asked: all of files, which cost nothing until they are come to."""
    if not isinstance(source, FileSource):
        few = _limited(source, _FURTHER)
        return (raw for part in slices(few) for raw in read(few, part))
    # What begins a file, without its end: cutting a file into slices reads all of it.
    files = (replace(part, stop=None) for part in slices(_limited(source, 1)))
    return (raw for file in files for raw in itertools.islice(read(source, file), source.limit))


def _all_read(source: Source, rows: int) -> bool:
    return isinstance(source, FileSource) or rows < _FURTHER


def _wrong_place(source: Source, lacking: str, *, rows: int) -> str:
    if isinstance(source, GymSource):
        fix = "; kind: gym has its scorer judge instead" if source.kind != "gym" else ""
        return f"task {source.task!r} gives no {lacking} in its first {rows:,} problems{fix}"
    of = f"of the {'' if _all_read(source, rows) else 'first '}{rows:,} rows"
    if lacking == "answer" and source.answer_regex is not None:
        bare = _raw_rows(source.model_copy(update={"answer_regex": None}))
        found = next((raw.answer for raw in bare if raw.answer), None)
        if found is not None:
            said = f"answer_regex={source.answer_regex!r} finds no answer in any {of}"
            return f"{said}; the first that they have is {beginning(found)!r}"
    field = source.fields.prompt if lacking == "prompt" else source.fields.answer
    few = _limited(source, _FURTHER)
    assert not isinstance(few, GymSource)
    names = next(filter(None, (field_names(few, part) for part in slices(few))), [])
    there = ", ".join([*map(beginning, names[:_SHOWN_FIELDS]), *(["..."] if len(names) > _SHOWN_FIELDS else [])])
    said = f"none {of} has {'a' if lacking == 'prompt' else 'an'} {lacking} in field {field!r}"
    return f"{said}; set fields.{lacking} to the one that holds it, the first have: {there or 'no text at all'}"


def beginning(text: str, *, most: int = _SHOWN_CHARS) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 10 * most].split())
    return line if len(line) <= most and len(text) <= 10 * most else f"{line[:most].rstrip()} ..."
