"""The base of every part of a recipe, and the fingerprint that says whether two recipes make the same data."""

from typing import Any, ClassVar

import orjson
import xxhash
from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen part of a recipe; unknown keys are errors.

    `operational` names the fields that change how fast or where the work is done, never what comes out:
    they stay out of `identity`, so changing them redoes nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    operational: ClassVar[frozenset[str]] = frozenset()


def identity(value: Any) -> Any:
    """The plain value of settings (nested in lists and dicts too) without their operational fields."""
    if isinstance(value, Settings):
        names = [name for name in type(value).model_fields if name not in value.operational]
        return {name: identity(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity(item) for item in value]
    return value


def fingerprint(*parts: Any) -> str:
    """32 hex digits that differ when any part's identity differs."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps(identity(list(parts)), option=orjson.OPT_SORT_KEYS))
