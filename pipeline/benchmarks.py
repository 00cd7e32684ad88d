"""Held-out problems: ready entries for the benchmarks that everyone reports, and the check that a benchmark is whole.

What a training set may lose without harm (a row twice, a row without an answer) would change a score in silence. So a
benchmark with such rows stops the run, with the rows named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Stop
from pipeline.golds import bad_gold
from pipeline.record import problem_id
from pipeline.sources import GymSource, Raw, Source, read, slices

_SHOWN, _REASON_CHARS = 3, 160
_FORMATS = {".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class Ready:
    """A known benchmark: how many problems it has, where the Hub has it, and how its publisher's file names its fields.

    `hub` is None where no data set on the Hub is known: then the recipe must say where the file is.
    """

    rows: int
    hub: Mapping[str, Any] | None
    fields: Mapping[str, str]
    about: Mapping[str, Any]


_PROBLEM = {"prompt": "problem", "answer": "answer"}

READY = {
    # A file is GAIR-NLP/LIMO's evaluation data.
    "aime24": Ready(
        rows=30,
        hub={"path": "HuggingFaceH4/aime_2024", "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a"},
        fields=_PROBLEM,
        about={},
    ),
    # A file is NVIDIA-NeMo/Skills'.
    "aime25": Ready(
        rows=30,
        hub={
            "path": "math-ai/aime25",
            "split": "test",
            "revision": "563bb8404243c5f09de6ec262f2db674fe5bce9b",
            "fields": _PROBLEM,
        },
        fields={"prompt": "problem", "answer": "expected_answer"},
        about={"licence": "Apache-2.0"},
    ),
    "math500": Ready(
        rows=500,
        hub={
            "path": "HuggingFaceH4/MATH-500",
            "split": "test",
            "revision": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        },
        fields=_PROBLEM,
        about={"licence": "MIT"},
    ),
    "gsm8k": Ready(
        rows=1319,
        hub={
            "path": "openai/gsm8k",
            "config": "main",
            "split": "test",
            "revision": "740312add88f781978c0658806c59bc2815b9866",
        },
        fields={"prompt": "question", "answer": "answer"},
        about={"answer_regex": "#### (.+)", "licence": "MIT"},
    ),
    # The China 2024 competition in English, as GAIR-NLP/LIMO has it.
    "math2024": Ready(rows=30, hub=None, fields=_PROBLEM, about={"licence": "MIT"}),
}
"""Name -> what is known of it: AIME 2024 and 2025, MATH-500, GSM8K's test problems, and MATH2024."""


def written_out(value: Any) -> Any:
    """A benchmark of a recipe with `ready: NAME` turned into the source that it stands for; others stay as they are.

    With `path: FILE` (.jsonl or .parquet, in the publisher's fields) the file is read, else the Hub; every other key
    goes over the entry's own. Raises ValueError with what would be right.
    """
    if not isinstance(value, Mapping) or "ready" not in value:
        return value
    name = value["ready"]
    ready = READY.get(name) if isinstance(name, str) else None
    if ready is None:
        raise ValueError(f"there is no ready benchmark {name!r}; there are {', '.join(READY)}")
    own = {key: item for key, item in value.items() if key != "ready"}
    if "path" in own:
        form = _FORMATS.get(Path(str(own["path"])).suffix)
        if form is None and "format" not in own:
            raise ValueError(f"path={own['path']!r} must end in .jsonl or .parquet, or format must say which it is")
        where: dict[str, Any] = {"format": form, "fields": ready.fields}
    elif ready.hub is None:
        raise ValueError(f"{name} is in no data set that we know of on the Hub: add path, the file with its problems")
    else:
        where = {"format": "hf", "fields": ready.fields, **ready.hub}
    fields = {**where["fields"], **own["fields"]} if isinstance(own.get("fields"), Mapping) else where["fields"]
    return {"name": name, "rows": ready.rows, **ready.about, **where, **own, "fields": fields}


def check(name: str, source: Source) -> None:
    """Raise Stop, with one line that names the rows, for a benchmark that can't be measured on as it is.

    Wrong are rows without a problem or an answer, or with an answer that can't be read, two rows with the same problem,
    and two with the same id. A generator may repeat itself; of what it makes only the answers are checked.
    """
    seen: dict[tuple[str, str], str] | None = None if isinstance(source, GymSource) else {}
    if seen is None and source.kind == "gym":
        # Its gold is written by us and its own scorer is asked as it is made.
        return
    wrong: list[str] = []
    for part in slices(source):
        for number, raw in enumerate(read(source, part), start=part.start + 1):
            wrong += _wrong(raw, f"{part.path} row {number}", source.kind, seen)
    if wrong:
        more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
        fix = "choose another kind" if seen is None else "mend or remove these rows, or choose another kind"
        raise Stop(f"benchmark {name}: {'; '.join(wrong[:_SHOWN])}{more}: {fix}")


def complete(sources: Sequence[Source], found: Mapping[str, int]) -> None:
    """Raise Stop for a source that says how many rows it must have and had another number; `found` is by its name."""
    for source in sources:
        rows = found.get(source.name, 0)
        if source.rows is not None and source.limit is None and rows != source.rows:
            fix = f"get all of it, or say rows: {rows} if that is right"
            raise Stop(f"source {source.name} has {rows:,} rows and must have {source.rows:,}: {fix}")


def _wrong(raw: Raw, where: str, kind: str, seen: dict[tuple[str, str], str] | None) -> Iterable[str]:
    if raw.prompt is None:
        yield f"{where} has no problem"
        return
    if raw.answer is None:
        yield f"{where} has no answer"
    elif reason := bad_gold(kind, raw.answer):
        yield f"{where} has an answer that can't be read as {kind} ({' '.join(reason.split())[:_REASON_CHARS]})"
    if seen is None:
        return
    for what, value in (("problem", problem_id(raw.prompt)), ("id", raw.id)):
        if value is None:
            continue
        before = seen.setdefault((what, value), where)
        if before != where:
            named = f"id {value[:60]!r}" if what == "id" else "problem"
            yield f"{where} has the same {named} as {before}"
            return
