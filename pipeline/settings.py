"""The base of every part of a recipe, and the fingerprint that says whether two recipes make the same data."""

import re
from typing import Annotated, Any, ClassVar

import orjson
import xxhash
from pydantic import AfterValidator, BaseModel, ConfigDict

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may name a folder, a tag of a metric, a part of a URI."""


def _folder_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("must be letters, digits, dots, dashes and underscores, a letter or digit first")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]
"""A name of the user's that a folder bears."""


class Settings(BaseModel):
    """A frozen part of a recipe; unknown keys are errors.

    `operational` names the fields that change how fast or where the work is done, never what comes out:
    they stay out of `identity`, so changing them redoes nothing.

    `later` names the fields that were added when there were finished runs already: at their defaults, which must do
    what was done before there was a choice, they stay out of `identity` too. So those runs count as done by the
    recipes that made them, and another value redoes what depends on it. A field stays in `later`, and keeps its
    default, for good.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    operational: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[frozenset[str]] = frozenset()


def identity(value: Any) -> Any:
    """The plain value of settings (nested in lists and dicts too) without operational fields and unused later ones."""
    if isinstance(value, Settings):
        names = [name for name in type(value).model_fields if name not in value.operational]
        plain = {name: identity(getattr(value, name)) for name in names}
        return {name: item for name, item in plain.items() if name not in value.later or item != _default(value, name)}
    if isinstance(value, dict):
        return {key: identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity(item) for item in value]
    return value


def _default(settings: Settings, name: str) -> Any:
    return identity(type(settings).model_fields[name].get_default(call_default_factory=True))


def fingerprint(*parts: Any) -> str:
    """32 hex digits that differ when any part's identity differs."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps(identity(list(parts)), option=orjson.OPT_SORT_KEYS))
