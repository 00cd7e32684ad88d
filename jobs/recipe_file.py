"""Reading a recipe: one YAML file that may extend another, `key=value` over it, and errors as one line."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.recipe import Recipe
from pipeline.errors import BadRecipe
from pipeline.settings import Settings
from pipeline.sources import FileSource, GymSource, HfSource

_TAGS = {"jsonl": FileSource, "parquet": FileSource, "hf": HfSource, "reasoning_gym": GymSource}


def load(path: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a file with `key=value` overrides. Raises BadRecipe with one line that says what would be right."""
    values = _read(Path(path))
    for override in overrides or []:
        _override(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise BadRecipe(f"{path}: {_line(error)}") from error


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise BadRecipe(f"no recipe {path}") from error
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" line {where.line + 1}" if where else ""
        raise BadRecipe(f"{path}{at} is not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, dict):
        raise BadRecipe(f"{path} is no recipe: it must be a YAML mapping that starts with name: ...")
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise BadRecipe(f"{path}: extends={base!r} must name one other recipe, relative to this one")
    if path.resolve() in seen:
        raise BadRecipe(f"{path}: extends goes round in a circle")
    return _merged(_read(path.parent / base, (*seen, path.resolve())), values)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        # An empty mapping means "none of those", not "as before".
        both = isinstance(value, dict) and value and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadRecipe(f"{override!r} is no override: write key=value, such as train.lr=1e-5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRecipe(f"{override!r}: the value is not YAML") from error
    *path, last = key.split(".")
    at: Any = values
    for name in path:
        at = _into(at, name, key)
    if isinstance(at, list):
        _into(at, last, key)
        at[int(last)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise BadRecipe(f"{key}: {'.'.join(path)} is a value, there is nothing below it")


def _into(at: Any, name: str, key: str) -> Any:
    if isinstance(at, list):
        if not name.isdigit() or int(name) >= len(at):
            raise BadRecipe(f"{key}: {name!r} is no place in a list of {len(at)}; count from 0")
        return at[int(name)]
    if not isinstance(at, dict):
        raise BadRecipe(f"{key}: there is nothing below {name!r}")
    if at.get(name) is None:
        at[name] = {}
    return at[name]


def _line(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    # The tag of a union's member is no key of the file.
    key = ".".join(part for place, part in enumerate(path) if part not in _TAGS or place == len(path) - 1)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}{_suggestion(path, key)}"
    if first["type"] == "missing":
        return f"{key} is missing: {_meaning(path)}"
    if first["type"] == "union_tag_not_found" or (first["type"] == "model_attributes_type" and first["input"] is None):
        ready = ", or ready: NAME" if path[:2] == ["evaluate", "benchmarks"] else ""
        return f"{key}: format is missing: {', '.join(_TAGS)}{ready}"
    said = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not key:
        return said
    # A key or an address with a password in it must not be shown back.
    shown = "" if any(word in first["msg"] + key for word in ("key", "base_url")) else f"={first['input']!r:.60}"
    return f"{key}{shown}: {said[0].lower()}{said[1:]}"


def _suggestion(path: list[str], key: str) -> str:
    fields = _fields_at(path[:-1])
    close = difflib.get_close_matches(path[-1], fields, n=1)
    if close:
        return f"; did you mean {key.removesuffix(path[-1])}{close[0]}?"
    return f"; there are {', '.join(fields)}" if fields else ""


def _meaning(path: list[str]) -> str:
    field = _fields_at(path[:-1]).get(path[-1])
    return field.description if field is not None and field.description else "it has no default"


def _fields_at(path: list[str]) -> dict[str, Any]:
    model: Any = Recipe
    for name in path:
        fields = getattr(model, "model_fields", {})
        if name in _TAGS:
            model = _TAGS[name]
        elif name in fields:
            model = _inner(fields[name].annotation)
    return dict(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    """The settings class inside tuple[X, ...], X | None or a plain X."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
