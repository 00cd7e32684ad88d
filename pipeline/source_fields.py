"""What a field of a foreign row holds: names with dots go into nested rows, numbers are texts, nulls are none."""

import math
from collections.abc import Mapping
from typing import Any


def has_field(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row has a field, or the one that a name with dots begins in."""
    return name in row or name.split(".")[0] in row


def value_of(row: Mapping[str, Any], name: str | None) -> Any:
    """What a field holds; the parts of a name with dots go into objects by key and into lists by number."""
    if name is None or name in row:
        return row.get(name) if name else None
    value: Any = row
    for part in name.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def as_text(value: Any) -> str | None:
    """A value as text without space around it; None for what is empty, no number and no text."""
    # Answers come as numbers too; an integral float is an integer that passed through pandas.
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None if isinstance(value, str | int | float) else None
