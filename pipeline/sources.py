"""Where problems come from: JSONL, Parquet, Hugging Face data sets, reasoning-gym. In: files; out: raw problems.

A source is read in slices that need nothing of each other, so that a cluster can read them side by side.
"""

import glob
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import orjson
import xxhash
from pydantic import AfterValidator, Field

from pipeline.errors import BadRecipe, Stop
from pipeline.gym import gym_gold
from pipeline.hf_sets import HfSet, folder_content, hf_rows, hf_slices
from pipeline.record import Kind
from pipeline.settings import Settings
from pipeline.source_fields import as_text, has_field, value_of
from pipeline.source_files import (
    Slice,
    Unreadable,
    file_content,
    jsonl_count,
    jsonl_rows,
    jsonl_slices,
    parquet_count,
    parquet_rows,
    parquet_slices,
)

_GYM_SLICE = 2000
_DEEPEST = 6


def _one_group(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"has {groups} groups; one group must hold the answer, such as '#### (.+)'")
    return value


def answer_in(text: str, regex: str) -> str | None:
    """What the group holds in the last match, None without one."""
    found = re.findall(regex, text, re.MULTILINE)
    return found[-1].strip() or None if found else None


AnswerRegex = Annotated[str, AfterValidator(_one_group)]
"""A regular expression whose one group is the answer."""


class Fields(Settings):
    """Which field of a source's rows holds what; `messages.0.content` goes into nested ones."""

    prompt: str = "problem"
    """The problem's text."""
    answer: str = "answer"
    """The known answer."""
    solution: str | None = None
    """A worked solution, if there is one: what `reformat` rewrites."""
    id: str | None = "id"
    """The row's own name, where rows have one; no two rows of a benchmark may share it. None looks at none."""
    subject: str | None = None
    """What it is about, such as MATH's subject: for quotas and variety when traces are chosen."""
    level: str | None = None
    """How hard the source says it is, such as MATH's level."""


class _Source(Settings):
    name: str
    """What the source is called in every row that comes from it."""
    kind: Kind = "math"
    """How answers are compared: math (by value), text (ignoring case and spacing), choice (one letter), code (by its
    tests), gym (by the scorer of the reasoning-gym task), judge (by a model)."""
    licence: str = "unknown"
    """The licence of the problems; goes into every row and the data set's card."""
    limit: int | None = Field(default=None, gt=0)
    """Rows read from each file (or in all, for hf and reasoning_gym); none means all."""
    rows: int | None = Field(default=None, gt=0)
    """How many rows it must have: any other number stops the run. None, or a limit, checks nothing."""
    bad_rows: Literal["stop", "drop"] = "stop"
    """What is done about a row that can't be read (not JSON, not UTF-8): stop the run, or drop it as `unreadable`."""


class _Mapped(_Source):
    fields: Fields = Fields()
    """Which field holds what."""
    answer_regex: AnswerRegex | None = None
    """Taken out of the answer field: the first group of the last match, such as '#### (.+)' for GSM8K."""


class FileSource(_Mapped):
    """Rows of local or mounted files."""

    format: Literal["jsonl", "parquet"]
    path: str
    """A file, or a pattern such as data/*.jsonl."""


class HfSource(_Mapped):
    """A data set by its Hugging Face name."""

    operational: ClassVar[frozenset[str]] = frozenset({"stream"})

    format: Literal["hf"]
    path: str
    """The name on the Hub, such as AI-MO/NuminaMath-CoT, or a folder that is laid out like one."""
    config: str | None = None
    """The data set's configuration, if it has several."""
    split: str = "train"
    """The split to read."""
    revision: str | None = None
    """The commit to read; pin it if the same data must come again."""
    stream: bool = False
    """Whether rows are read as they come, on one core, instead of from a copy that each node stores (in HF_HOME)."""


class GymSource(_Source):
    """Problems made by a reasoning-gym task."""

    format: Literal["reasoning_gym"]
    task: str
    """The task's name, such as letter_counting."""
    size: int = Field(gt=0)
    """How many problems to make."""
    seed: int = 0
    """The seed of the generator."""
    options: dict[str, Any] = {}
    """The task's own options."""


Source = Annotated[FileSource | HfSource | GymSource, Field(discriminator="format")]


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as the source has it; None where the field is missing or empty."""

    prompt: str | None
    answer: str | None
    solution: str | None
    id: str | None = None
    subject: str | None = None
    level: str | None = None
    unreadable: str | None = None


def slices(source: Source) -> list[Slice]:
    """The parts of a source, in order. Raises Stop when it isn't there, BadRecipe for an unknown task or option."""
    if isinstance(source, FileSource):
        cut = jsonl_slices if source.format == "jsonl" else parquet_slices
        return [part for path in _paths(source) for part in cut(path, limit=source.limit)]
    if isinstance(source, HfSource):
        return hf_slices(_hf(source), limit=source.limit)
    _gym(source)
    size = min(source.size, source.limit or source.size)
    return [Slice(source.task, at, min(at + _GYM_SLICE, size)) for at in range(0, size, _GYM_SLICE)]


def _paths(source: FileSource) -> list[str]:
    paths = sorted(glob.glob(str(Path(source.path).expanduser())))
    if not paths:
        raise Stop(f"source {source.name}: no file matches {source.path}")
    if folder := next((path for path in paths if Path(path).is_dir()), None):
        raise Stop(f"source {source.name}: {folder} is a folder; write {folder}/*.{source.format}")
    return paths


def size_of(source: Source) -> int | None:
    """How many rows a source will give, if that can be told without reading it all."""
    if isinstance(source, GymSource):
        return min(source.size, source.limit or source.size)
    if isinstance(source, HfSource):
        return source.limit
    count = jsonl_count if source.format == "jsonl" else parquet_count
    return sum(min(n, source.limit or n) for n in map(count, _paths(source)))


def content(source: Source) -> str:
    """What a source's files hold, as a hash; empty for sources that are named rather than held in files."""
    if isinstance(source, HfSource):
        return folder_content(source.path)
    if not isinstance(source, FileSource):
        return ""
    digest = xxhash.xxh3_128()
    for path in _paths(source):
        digest.update(file_content(path))
    return digest.hexdigest()


def read(source: Source, part: Slice) -> Iterator[Raw]:
    """The rows of a slice. Raises Stop that names the file and line of what can't be read, unless that is dropped."""
    if isinstance(source, GymSource):
        return _read_gym(source, part)
    return (_mapped(source, row) for row in _checked(source, part, _rows(source, part)))


def field_names(source: FileSource | HfSource, part: Slice) -> list[str]:
    """The fields that hold text or a number in any row of a slice, as a recipe names them, nested ones with dots."""
    rows = (row for row in _rows(source, part) if not isinstance(row, Unreadable))
    return list(dict.fromkeys(name for row in rows for name in _leaves(row)))


def _leaves(value: Any, within: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict | list) and len(within) < _DEEPEST:
        # Of a list its first place alone: the others are alike.
        for key, item in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from _leaves(item, (*within, str(key)))
    elif isinstance(value, str | int | float) and str(value).strip():
        yield ".".join(within)


def _rows(source: FileSource | HfSource, part: Slice) -> Iterator[dict[str, Any] | Unreadable]:
    if isinstance(source, HfSource):
        return hf_rows(_hf(source), part)
    return jsonl_rows(part) if source.format == "jsonl" else parquet_rows(part)


def _hf(source: HfSource) -> HfSet:
    named = [name for name in source.fields.model_dump().values() if name is not None]
    # A name with dots is that of a column, or begins with one.
    columns = frozenset([*named, *(name.split(".")[0] for name in named)])
    return HfSet(source.name, source.path, source.config, source.split, source.revision, source.stream, columns)


def _checked(
    source: FileSource | HfSource, part: Slice, rows: Iterator[dict[str, Any] | Unreadable]
) -> Iterator[dict[str, Any] | Unreadable]:
    fields = source.fields
    for number, row in enumerate(rows, start=part.start):
        if isinstance(row, Unreadable):
            if source.bad_rows == "stop":
                raise Stop(f"{row.why}; mend or remove it, or set bad_rows: drop for source {source.name}")
        elif number == 0:
            # A field that the first row lacks is a wrong recipe; one that a later row lacks is a bad row.
            for name in (fields.prompt, fields.answer, fields.solution, fields.subject, fields.level):
                if name is not None and not has_field(row, name):
                    raise Stop(f"source {source.name}: no field {name!r}; the first row has: {', '.join(row)}")
        yield row


def _mapped(source: FileSource | HfSource, row: dict[str, Any] | Unreadable) -> Raw:
    if isinstance(row, Unreadable):
        return Raw(prompt=None, answer=None, solution=None, unreadable=row.why)
    fields = source.fields
    answer = _gold(source, value_of(row, fields.answer))
    if answer is not None and source.answer_regex is not None:
        answer = answer_in(answer, source.answer_regex)
    return Raw(
        prompt=as_text(value_of(row, fields.prompt)),
        answer=answer,
        solution=as_text(value_of(row, fields.solution)),
        id=as_text(value_of(row, fields.id)),
        subject=as_text(value_of(row, fields.subject)),
        level=as_text(value_of(row, fields.level)),
    )


def _gold(source: FileSource | HfSource, value: Any) -> str | None:
    # The tests of a code problem come as lists and objects in many data sets, as their text in others.
    if source.kind == "code" and isinstance(value, dict | list) and value:
        return orjson.dumps(value, default=str).decode()
    return as_text(value)


def _read_gym(source: GymSource, part: Slice) -> Iterator[Raw]:
    data = _gym(source)
    for index in range(part.start, part.stop or source.size):
        entry = data[index]
        # The task's own scorer needs all of the entry, and what it was made with.
        own = gym_gold(source.task, entry, source.options) if source.kind == "gym" else entry["answer"]
        yield Raw(prompt=as_text(entry["question"]), answer=as_text(own), solution=None)


def _gym(source: GymSource) -> Any:
    with warnings.catch_warnings():
        # reasoning-gym imports a package whose source warns on every import.
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    try:
        return reasoning_gym.create_dataset(source.task, size=source.size, seed=source.seed, **source.options)
    except (ValueError, TypeError, AssertionError) as error:
        raise BadRecipe(f"source {source.name}: reasoning-gym task {source.task!r}: {error}") from error
