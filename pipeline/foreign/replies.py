"""Replies that someone else wrote, one row at a time. In: a row as its file has it; out: what there is to judge.

A field may be nested (`response.text`, `choices.0.message.content`); a list on the way is walked through.
"""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import orjson
import xxhash

from pipeline.prompts import CLOSE, OPEN, split
from pipeline.record import Kind
from pipeline.settings import Settings
from pipeline.sources import AnswerRegex, answer_in
from pipeline.verdict import Submission, Verdict

KINDS = get_args(Kind)
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "truncated", "incomplete"})
# JSON readers give whole numbers beyond 64 bits as floats.
_WHOLE = 2.0**53


class ReplyFields(Settings):
    """Which field of a foreign row holds what."""

    prompt: str = "prompt"
    """The problem's text, or its chat messages; without an id, rows with the same prompt are draws of one problem."""
    reply: str = "reply"
    """A text, chat messages (the last of the assistant counts), or a list of either: several draws."""
    answer: str = "answer"
    """The known answer."""
    kind: str = "kind"
    """How the answer is compared, row by row."""
    default_kind: Kind = "math"
    """The kind of rows that name none."""
    finish: str = "finish_reason"
    """Why the reply ended; length or max_tokens mean that it was cut off."""
    id: str = "id"
    """Which problem a row belongs to."""
    tokens: str = "completion_tokens"
    """How many tokens the reply has."""
    answer_regex: AnswerRegex | None = None
    """Taken out of the answer field: the first group of the last match, such as '#### (.+)'."""


class Each(list[Any]):
    """What a field is in every item of a list on the way to it: never the messages of one chat."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One reply: what the verifier is asked, or the verdict of what it can't be asked."""

    asked: Submission | Verdict
    tokens: int | None

    @property
    def truncated(self) -> bool:
        """Whether the reply was cut off."""
        return isinstance(self.asked, Submission) and self.asked.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Replies:
    """A row's draws; `several` when its reply field is a list, so that its verdicts are lists too."""

    problem: int
    draws: list[Draw]
    several: bool


def replies_of(row: dict[str, Any], fields: ReplyFields, *, number: int, exact: bytes | None = None) -> Replies:
    """What there is to judge in a row.

    `number` names the problem of a row with neither id nor prompt; `exact` is the row's own JSON, for whole numbers
    that are too long for its reader.
    """
    texts, several = _texts(at(row, fields.reply))
    kind = at(row, fields.kind)
    kind = fields.default_kind if kind is None or kind == "" else kind
    gold = _gold(row, fields, kind, exact)
    ends = _spread(at(row, fields.finish), len(texts))
    tokens = _spread(at(row, fields.tokens), len(texts))
    draws = [
        Draw(_asked(kind, gold, raw, end), int(count) if _is_count(count) else None)
        for raw, end, count in zip(texts, ends, tokens, strict=True)
    ]
    return Replies(problem_of(row, fields, number=number), draws, several)


def problem_of(row: dict[str, Any], fields: ReplyFields, *, number: int) -> int:
    """The problem that a row belongs to: 64 bits of its id, else of its prompt, else of its `number`."""
    for name in (fields.id, fields.prompt):
        value = at(row, name)
        if value is not None and value != "":
            return xxhash.xxh3_64_intdigest(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
    return xxhash.xxh3_64_intdigest(f"row {number}".encode())


def at(row: Any, path: str) -> Any:
    """The value of a field, nested by dots; None where there is none. Of a list it is the list of its items' values."""
    if isinstance(row, dict):
        if path in row:
            return row[path]
        head, dot, rest = path.partition(".")
        return at(row[head], rest) if dot and head in row else None
    if isinstance(row, list):
        head, dot, rest = path.partition(".")
        if not head.isdecimal():
            return Each(at(item, path) for item in row)
        item = row[int(head)] if int(head) < len(row) else None
        return at(item, rest) if dot else item
    return None


def has(row: Any, path: str) -> bool:
    """Whether a row has a field, be it empty."""
    if isinstance(row, dict):
        head, dot, rest = path.partition(".")
        return path in row or bool(dot and head in row and has(row[head], rest))
    if isinstance(row, list):
        head, dot, rest = path.partition(".")
        if not head.isdecimal():
            return any(has(item, path) for item in row)
        return int(head) < len(row) and (not dot or has(row[int(head)], rest))
    return False


def names_of(row: dict[str, Any]) -> list[str]:
    """The names that a row's fields have in options, one level deep where there are fields inside."""
    names = []
    for name, value in row.items():
        names += [f"{name}.{inner}" for inner in value] if isinstance(value, dict) and value else [name]
    return names


def as_text(value: Any) -> str | None:
    """A value as an answer is written: 18.0 is 18; None where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        value = int(value)
    if isinstance(value, dict):
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    if isinstance(value, list | tuple):
        parts = [as_text(item) for item in value]
        return ", ".join(part for part in parts if part is not None) or None
    return str(value).strip() or None


def _asked(kind: Any, gold: str | None, raw: str | None, end: Any) -> Submission | Verdict:
    if raw is None:
        return Verdict("undecided", None, "no reply")
    if gold is None:
        return Verdict("undecided", None, "no gold answer")
    if kind not in KINDS:
        return Verdict("undecided", None, f"unknown kind {str(kind)[:40]!r}; there are {', '.join(KINDS)}")
    truncated = _truncated(raw, end)
    # A tag that is only talked about splits nothing.
    reply = split(raw, truncated=truncated).reply if truncated or CLOSE in raw else raw
    return Submission(kind, gold, reply, "length" if truncated else "stop")


def _truncated(raw: str, end: Any) -> bool:
    """Whether a reply was cut off, or never came to its answer: it begins with a thought that never closes."""
    if isinstance(end, str) and end.lower() in _CUT:
        return True
    return raw.lstrip().startswith(OPEN) and CLOSE not in raw


def _gold(row: dict[str, Any], fields: ReplyFields, kind: Any, exact: bytes | None) -> str | None:
    value = at(row, fields.answer)
    if exact is not None and isinstance(value, float) and abs(value) >= _WHOLE:
        # Python refuses numbers of thousands of digits; the float stays then.
        with contextlib.suppress(ValueError):
            value = at(json.loads(exact), fields.answer)
    if isinstance(value, list) and kind in ("code", "gym"):
        return orjson.dumps(value, default=str).decode()
    text = as_text(value)
    if text is None or fields.answer_regex is None:
        return text
    return answer_in(text, fields.answer_regex)


def _texts(value: Any) -> tuple[list[str | None], bool]:
    if isinstance(value, list) and value and (isinstance(value, Each) or not _is_chat(value)):
        return [_text(item) for item in value], True
    return [_text(value)], False


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and _is_chat(value):
        said = [message for message in value if message and message["role"] == "assistant"]
        return _content(said[-1]) if said else None
    if isinstance(value, dict) and "content" in value:
        return _content(value)
    return as_text(value) if isinstance(value, int | float) else None


def _is_chat(value: list[Any]) -> bool:
    """Whether a list is messages; Parquet may have nulls among them."""
    return any(value) and all(item is None or (isinstance(item, dict) and "role" in item) for item in value)


def _content(message: dict[str, Any]) -> str:
    """A message's text; the thought of one that keeps it apart (reasoning_content) is no part of it."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content if isinstance(part, dict) and part.get("text") is not None)
    return content if isinstance(content, str) else ""


def _spread(value: Any, draws: int) -> Sequence[Any]:
    """One value for each draw: a list as long as the draws, or the same for all."""
    if isinstance(value, list):
        return value if len(value) == draws else [None] * draws
    return [value] * draws


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _WHOLE
