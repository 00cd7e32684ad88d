"""Rows as JSON Lines, and lines with columns added: everything else in a line stays as it was, byte for byte."""

import base64
import json
from collections.abc import Collection, Sequence
from typing import Any

import orjson
import pyarrow as pa

BEFORE = "_before"
"""What the names of the input's own fields end in where ours take their place."""


def parse(line: bytes) -> Any:
    """The value of a line. NaN becomes null and half a surrogate pair '?'. Raises ValueError for what is no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        # Python writes NaN, and half pairs in its escapes, and calls it JSON.
        try:
            value = json.loads(line, parse_constant=lambda _: None)
        except RecursionError:
            raise ValueError("nested too deeply") from error
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from error
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def aside(row: dict[str, Any], ours: Collection[str], *, replace: bool) -> dict[str, Any]:
    """The row with fields that are named as ours under another name (why_before), or without them."""
    kept = {name if name not in ours else f"{name}{BEFORE}": value for name, value in row.items()}
    return {name: value for name, value in row.items() if name not in ours} if replace else kept


def extended(line: bytes, added: dict[str, Any], *, rewritten: bool, replace: bool) -> bytes:
    """A line that holds an object, with fields added at its end; `rewritten` when it has such names already."""
    if rewritten:
        # Python's own reader keeps whole numbers of any length.
        line = json.dumps(aside(json.loads(line), added, replace=replace)).encode()
    head = line.rstrip().removesuffix(b"}").rstrip()
    comma = b"" if head.endswith(b"{") else b", "
    return head + comma + orjson.dumps(added)[1:] + b"\n"


def line_of(row: dict[str, Any]) -> bytes:
    """A row of a table as a line: bytes that are no text in base64, decimals and the like as text."""
    return orjson.dumps(row, default=_foreign, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def schema_of(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    """The Arrow types of JSON rows. Values that have no type in common make `pa.binary()`, which JSON has not."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.schema([(name, _type_of([row.get(name) for row in rows])) for name in names])


def merged(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """The types that hold the rows of both."""
    if one.equals(other):
        return one
    types = {field.name: field.type for field in one}
    for field in other:
        types[field.name] = _common(types.get(field.name, pa.null()), field.type)
    return pa.schema(list(types.items()))


def is_several(found: pa.Schema | pa.DataType, path: str) -> bool:
    """Whether a field of a table holds several replies a row: a list in it or on the way to it."""
    if not isinstance(found, pa.Schema) and pa.types.is_list(found) | pa.types.is_large_list(found):
        head, _, rest = path.partition(".")
        if head.isdecimal():
            return is_several(found.value_type, rest)
        return bool(path) or not (
            pa.types.is_struct(found.value_type) and found.value_type.get_field_index("role") >= 0
        )
    for name, rest in ((path, ""), path.split(".", 1) if "." in path else ("", "")):
        at = found.get_field_index(name) if name and isinstance(found, pa.Schema | pa.StructType) else -1
        if at >= 0:
            return is_several(found.field(at).type, rest)
    return False


def _type_of(values: list[Any]) -> pa.DataType:
    try:
        found = pa.array(values).type
    except (pa.ArrowException, OverflowError, TypeError):
        return pa.binary()
    return found if _fits_parquet(found) else pa.binary()


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if pa.binary() in (one, other):
        return pa.binary()
    try:
        schemas = [pa.schema([("", one)]), pa.schema([("", other)])]
        return pa.unify_schemas(schemas, promote_options="permissive").types[0]
    except pa.ArrowException:
        return pa.binary()


def _fits_parquet(found: pa.DataType) -> bool:
    """Parquet has no struct without fields."""
    if pa.types.is_struct(found):
        return found.num_fields > 0 and all(_fits_parquet(found[at].type) for at in range(found.num_fields))
    return _fits_parquet(found.value_type) if pa.types.is_list(found) else True


def _foreign(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
