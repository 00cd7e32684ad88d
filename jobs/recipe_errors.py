"""What is wrong with a recipe, as one line: where, what stands there, and what would be right."""

import difflib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from jobs.recipe import Recipe
from pipeline.settings import Settings

_SHOWN_CHARS = 60
# A key or an address with a password in it must not be shown back.
_SECRET = ("key", "base_url")
_UNKNOWN = ("extra_forbidden", "invalid_key")
_CLOSE = 0.7
# How the path to a key of a mapping ends, where the key itself is wrong.
_KEY = "[key]"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an error is: the keys that lead there, what is expected there and around it, and the field's own words."""

    keys: tuple[str, ...]
    wanted: Any
    around: Any
    about: str | None

    @property
    def key(self) -> str:
        return ".".join(self.keys)


def line(error: ValidationError, root: type[Settings] = Recipe) -> str:
    """The one line of the error that says most: an unknown key explains the missing one beside it.

    `root` is what the file was read as.
    """
    found = error.errors()
    first = next((each for each in found if each["type"] in _UNKNOWN), found[0])
    place = _place(first["loc"], root)
    if first["loc"][-1:] == (_KEY,):
        return f"{place.key}: the key {_plain(first['input'])} must be text: put it in quotes"
    special = _SPECIAL.get(first["type"])
    if special is not None:
        return special(place, first)
    context = first.get("ctx", {})
    known = _WORDS.get(first["type"])
    if known is not None:
        said = known(place, first["input"], context)
    elif "error" in context:
        said = str(context["error"])
    else:
        said = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    # An address may be said to be wrong by the section that it is in.
    secret = _is_secret(place.key) or _is_secret(said, words=("base_url",))
    shown = "" if secret else _shown(first["input"])
    return f"{place.key}{shown}: {said}" if place.keys else said


def _place(loc: tuple[int | str, ...], root: type[Settings]) -> _Place:
    """Follow a path through the settings; the name of a union's member is no key of the file."""
    keys: list[str] = []
    wanted: Any = root
    around, about = None, None
    for part in loc:
        if _is_union(wanted):
            wanted = _members(wanted).get(str(part))
            continue
        keys.append(str(part))
        around, about = wanted, None
        field = _fields(wanted).get(str(part))
        if field is not None:
            wanted, about = _bare(field.annotation), field.description
        else:
            wanted = _inside(wanted)
    if keys and keys[-1] == _KEY:
        keys = keys[:-2]
    return _Place(tuple(keys), wanted, around, about)


def _bare(annotation: Any) -> Any:
    """An annotation without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return _bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _inside(annotation: Any) -> Any:
    """What the items of a list, or the values of a mapping, are."""
    inner = [each for each in get_args(annotation) if each is not ...]
    return _bare(inner[-1]) if inner and get_origin(annotation) is not Literal else None


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _members(union: Any) -> dict[str, Any]:
    """The settings classes of a union by the values of `format`, which tells them apart."""
    return {tag: each for each in get_args(union) for tag in get_args(each.model_fields["format"].annotation)}


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    is_settings = isinstance(annotation, type) and issubclass(annotation, Settings)
    return dict(annotation.model_fields) if is_settings else {}


def _is_secret(text: str, *, words: tuple[str, ...] = _SECRET) -> bool:
    return any(word in text for word in words)


def _shown(value: Any) -> str:
    """What stands there, as a recipe writes it; sections are not shown."""
    flat = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(each, Mapping | list | tuple) for each in flat):
        return ""
    text = f"[{', '.join(map(_plain, flat))}]" if isinstance(value, list | tuple) else _plain(value)
    return f"={text}" if len(text) <= _SHOWN_CHARS else f"={text[:_SHOWN_CHARS]}..."


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value[: 2 * _SHOWN_CHARS]) if isinstance(value, str) else str(value)


def _unknown(place: _Place, error: Any) -> str:
    name, before = place.keys[-1], ".".join(place.keys[:-1])
    fields = _fields(place.around)
    if not before and name.startswith("extend"):
        return f"unknown key {name}; did you mean extends?"
    # A key of a section that was written beside it, such as max_tokens beside sampling.
    close = [f"{section}.{name}" for section, field in fields.items() if name in _fields(_bare(field.annotation))]
    close = close or difflib.get_close_matches(name, fields, n=1, cutoff=_CLOSE)
    meant = " or ".join(f"{before}.{each}" if before else each for each in close[:3])
    if meant:
        return f"unknown key {place.key}; did you mean {meant}?"
    there = ", ".join(fields)
    return f"unknown key {place.key}{f'; there are {there}' if there else ''}"


def _missing(place: _Place, error: Any) -> str:
    if not _fields(place.around):
        return f"{'.'.join(place.keys[:-1])}: {_sized(place.around)}"
    return f"{place.key} is missing: {place.about or 'it has no default'}"


def _no_format(place: _Place, error: Any) -> str:
    ready = ", or ready: NAME" if place.keys[:2] == ("evaluate", "benchmarks") else ""
    return f"{place.key}: format is missing: {', '.join(_members(place.wanted))}{ready}"


def _no_source(place: _Place, error: Any) -> str:
    if error["input"] is None:
        return _no_format(place, error)
    return f"{place.key}{_shown(error['input'])}: {_section(place, error['input'], {})}"


def _wrong_format(place: _Place, error: Any) -> str:
    value = error["input"].get("format") if isinstance(error["input"], Mapping) else None
    choices = ", ".join(_members(place.wanted))
    return f"{place.key}.format{_shown(value)}: must be one of {choices}"


_SPECIAL: Mapping[str, Callable[[_Place, Any], str]] = {
    **dict.fromkeys(_UNKNOWN, _unknown),
    "missing": _missing,
    "union_tag_not_found": _no_format,
    "union_tag_invalid": _wrong_format,
    "model_attributes_type": _no_source,
}


def _one_of(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    choices = [str(each) for each in get_args(place.wanted)]
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=_CLOSE)
    return f"must be one of {', '.join(choices)}{f'; did you mean {close[0]}?' if close else ''}"


def _text(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    if isinstance(value, bool | int | float) and not _is_secret(place.key):
        return f"must be text: put it in quotes, '{_plain(value)}'"
    return "must be text"


def _integer(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    return f"must be an integer{', in digits' if isinstance(value, str) else ''}"


def _list(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    inside = _inside(place.wanted)
    simple = (isinstance(inside, type) and not _fields(inside)) or get_origin(inside) is Literal
    if not simple or not isinstance(value, str | int | float) or _is_secret(place.key):
        return "must be a list"
    dumped = yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()
    return f"must be a list: {dumped}" if len(dumped) <= _SHOWN_CHARS else "must be a list"


def _section(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    keys = ", ".join(_fields(place.wanted)) or ("name, format, ..." if _is_union(place.wanted) else "names of yours")
    said = f"must be a section with {keys}"
    return f"{said}; or leave it out" if value is None else said


def _sized(annotation: Any) -> str:
    return f"must be a list of {len(get_args(annotation))}"


def _few(place: _Place, value: Any, context: Mapping[str, Any]) -> str:
    if "actual_length" in context and isinstance(value, list | tuple) and ... not in get_args(place.wanted):
        return _sized(place.wanted)
    bound = ("min_length", "at least") if "min_length" in context else ("max_length", "at most")
    what, count = "character" if isinstance(value, str) else "item", context[bound[0]]
    return f"must have {bound[1]} {count} {what}{'s' if count != 1 else ''}"


def _bound(word: str, name: str) -> Callable[[_Place, Any, Mapping[str, Any]], str]:
    return lambda place, value, context: f"must be {word} {context[name]:g}"


def _always(said: str) -> Callable[[_Place, Any, Mapping[str, Any]], str]:
    return lambda place, value, context: said


_WORDS: Mapping[str, Callable[[_Place, Any, Mapping[str, Any]], str]] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _integer),
    **dict.fromkeys(("float_type", "float_parsing"), _always("must be a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _always("must be true or false")),
    **dict.fromkeys(("string_type", "string_unicode"), _text),
    **dict.fromkeys(("tuple_type", "list_type"), _list),
    **dict.fromkeys(("model_type", "dict_type"), _section),
    **dict.fromkeys(("too_short", "too_long", "string_too_short", "string_too_long"), _few),
    "finite_number": _always("must be a finite number"),
    "literal_error": _one_of,
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
}
