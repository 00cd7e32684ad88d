"""Reading a recipe: one YAML file that may extend another, `key=value` over it, and errors as one line."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.recipe import Recipe
from jobs.recipe_errors import line
from pipeline.errors import BadRecipe


def load(path: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a file with `key=value` overrides. Raises BadRecipe with one line that says what would be right."""
    return checked(path, overridden(path, overrides or []))


def overridden(path: str, overrides: list[str]) -> dict[str, Any]:
    """The values of a file, and of those that it extends, with `key=value` overrides; not checked yet."""
    values = values_of(Path(path))
    for override in overrides:
        _override(values, override)
    return values


def checked(path: str, values: dict[str, Any]) -> Recipe:
    """The recipe of a file's values. Raises BadRecipe with one line that says what would be right."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise BadRecipe(f"{path}: {line(error)}") from error


def values_of(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a YAML file and of those that it extends. Raises BadRecipe for a file that holds no mapping."""
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
    return merged(values_of(path.parent / base, (*seen, path.resolve())), values)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """The values of a recipe with those of another over them, key by key; an empty mapping replaces."""
    both = dict(base)
    for key, value in over.items():
        # An empty mapping means "none of those", not "as before".
        inside = isinstance(value, dict) and value and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if inside else value
    return both


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
