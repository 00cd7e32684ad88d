"""The rows of a data set as conversations: checked, named, with nothing but role and content."""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.errors import Stop

NEEDED = "rows need `messages`, a list of {role, content} that ends with the assistant's"
_NAMED_BY = ("problem_id", "generation", "draw")
_ROLES = ("system", "user", "assistant", "tool")
_TEXTS = (pa.string(), pa.large_string())

Messages = list[dict[str, str]]


def conversations(table: pa.Table, *, address: str, name: str, rows: Sequence[int]) -> tuple[list[str], list[Messages]]:
    """What each row is called, and its messages. Raises Stop for rows of another shape.

    `address` and `name` are the file's, `rows` the rows' places in it. System turns and several turns are fine.
    """
    _check_type(table, address)
    lines = table["messages"].to_pylist()
    return _names(table, name, rows), [_checked(line, address, row) for line, row in zip(lines, rows, strict=True)]


def asked(messages: Messages) -> list[str]:
    """What the assistant was told, message by message."""
    return [one["content"] for one in messages if one["role"] != "assistant"]


def said(messages: Messages) -> list[str]:
    """What the assistant said, message by message."""
    return [one["content"] for one in messages if one["role"] == "assistant"]


def _names(table: pa.Table, name: str, rows: Sequence[int]) -> list[str]:
    """By its draw in a data set of ours, which has one row a draw, else by its place."""
    if set(_NAMED_BY) <= set(table.column_names):
        columns = (table[column].to_pylist() for column in _NAMED_BY)
        return ["/".join(map(str, line)) for line in zip(*columns, strict=True)]
    return [f"{name}:{row}" for row in rows]


def _check_type(table: pa.Table, address: str) -> None:
    if "messages" not in table.column_names:
        raise Stop(f"{address} has no column `messages`; {NEEDED}")
    kind = table.schema.field("messages").type
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    fields = {field.name: field.type for field in inner} if inner is not None and pa.types.is_struct(inner) else {}
    if any(fields.get(name) not in _TEXTS for name in ("role", "content")):
        raise Stop(f"{address}: `messages` is {str(kind)[:80]}; {NEEDED}, both text")


def _checked(messages: Messages | None, address: str, row: int) -> Messages:
    if not messages:
        raise Stop(f"{address}: row {row} has no messages; {NEEDED}")
    if any(one is None or one["role"] is None or one["content"] is None for one in messages):
        raise Stop(f"{address}: row {row} has a message without role or content; {NEEDED}")
    odd = next((one["role"] for one in messages if one["role"] not in _ROLES), None)
    if odd is not None:
        raise Stop(f"{address}: row {row} has the role {odd[:40]!r}, which is not one of {', '.join(_ROLES)}")
    if messages[-1]["role"] != "assistant":
        raise Stop(f"{address}: row {row} ends with a message of {messages[-1]['role'][:40]!r}; {NEEDED}")
    return [{"role": one["role"], "content": one["content"]} for one in messages]
