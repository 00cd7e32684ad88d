"""What a submitted job takes along: the code, the recipe as one file, and the local files that the recipe names."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import BadRecipe, Stop

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "recipe.yaml"
COMMIT = "commit.txt"
_CODE = ("pipeline", "cluster", "jobs")
_FILES = ("pyproject.toml", "constraints.txt")
_NAMES_FILES = frozenset({"path", "model", "dataset", "embedder"})
_MOST_MIB = 200


def packed(values: Mapping[str, Any], folder: Path, *, commit: str) -> list[str]:
    """Fill a folder with all that a job needs; the local files that it names, as they are named.

    Files that are named by relative paths are looked for where the command was started, else beside the code; absolute
    paths and URIs are for every node to reach. Raises Stop for files of more than 200 MiB, and for a key's file.
    """
    for name in _CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in _FILES:
        shutil.copy(ROOT / name, folder / name)
    (folder / COMMIT).write_text(commit)
    named = [(name, found) for name in dict.fromkeys(_named(values)) if (found := list(_found(name)))]
    _check_size([file for _, found in named for _, file in found])
    for _, found in named:
        for place, file in found:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / place)
    (folder / RECIPE).write_text(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))
    return [name for name, _ in named]


def _named(value: Any) -> Iterator[str]:
    """Every text in a recipe that may be a local file or folder."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _NAMES_FILES and isinstance(item, str) and _is_relative(item):
                yield item
            elif name == "api_key_file" and isinstance(item, str) and _is_relative(item):
                raise BadRecipe(
                    f"api_key_file={item!r}: a key's file does not travel with a job; give a path that it has on the "
                    "nodes, or api_key_env and its variable"
                )
            else:
                yield from _named(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item)


def _is_relative(text: str) -> bool:
    return bool(text) and "://" not in text and not Path(text).expanduser().is_absolute()


def _found(name: str) -> Iterator[tuple[Path, Path]]:
    """The files that a name stands for, each with its place in the parcel; a folder's files all."""
    for base in (Path.cwd(), ROOT):
        there = sorted(base.glob(name)) if ".." not in Path(name).parts else []
        if not there and (base / name).exists():
            raise BadRecipe(
                f"{name!r} lies outside of {base}: a submitted job takes files from there alone; start from a folder "
                "above it, or give an absolute path that every node has"
            )
        for each in there:
            files = [file for file in each.rglob("*") if file.is_file()] if each.is_dir() else [each]
            yield from ((file.relative_to(base), file) for file in files)
        if there:
            return


def _check_size(files: list[Path]) -> None:
    sizes = {file: file.stat().st_size for file in files}
    mib = sum(sizes.values()) / 2**20
    if mib > _MOST_MIB:
        largest = max(sizes, key=lambda file: sizes[file])
        raise Stop(
            f"the recipe names {mib:,.0f} MiB of local files (the largest is {largest}), and a job takes "
            f"{_MOST_MIB} MiB along: put them where every node reaches them (a mounted folder, s3://), and name that"
        )
