"""Data sets of the Hugging Face Hub, or folders laid out like them, in slices that a cluster reads side by side.

Each node stores a set once, as Arrow files in the cache of the `datasets` library: whoever comes first downloads and
converts it, the others wait at that library's lock. A slice maps its own rows of these files, so that a task's memory
is bounded by its slice. What is streamed is not stored: its rows come one after the other, so it stays one slice.
"""

import glob
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from pipeline.errors import Stop
from pipeline.source_files import SLICE_ROWS, Slice, file_content

_BATCH_ROWS = 100
_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class HfSet:
    """Which data set it is; `source` is what the recipe calls it."""

    source: str
    path: str
    config: str | None
    split: str
    revision: str | None
    stream: bool = False
    columns: frozenset[str] | None = None
    """The columns whose values are read; of the others only the names count. None means all."""

    def reads(self, column: str) -> bool:
        """Whether a column's values are asked for."""
        return self.columns is None or column in self.columns


def folder_content(path: str) -> str:
    """What a folder's files are called and hold, as a hash; hidden ones don't count. Empty where there is no folder."""
    if not Path(path).is_dir():
        return ""
    digest = xxhash.xxh3_128()
    # Of the hidden ones the library reads this one.
    for name in sorted([*glob.glob("**", root_dir=path, recursive=True), ".huggingface.yaml"]):
        file = Path(path) / name
        if file.is_file():
            digest.update(os.fsencode(name) + b"\0" + file_content(str(file)))
    return digest.hexdigest()


def hf_slices(which: HfSet, *, limit: int | None = None, rows: int = SLICE_ROWS) -> list[Slice]:
    """The first `limit` rows of a set, or all, in parts of so many; they name the commit of the set that was found, or
    the content of its folder.

    What is streamed is one part, and a limit that fits into one part is streamed too: a few rows must not
    fetch everything. Raises Stop when there is no such set, or no such split or configuration of it.
    """
    if which.stream or (limit is not None and limit <= rows):
        return [Slice(which.path, 0, limit)]
    with _told(which):
        import datasets

        found = datasets.load_dataset_builder(which.path, which.config, revision=which.revision)
        _check_split(which, found.config.data_files)
        version = folder_content(which.path) or str(found.hash)
        size = len(_table(which, version))
    end = min(size, limit or size)
    starts = range(0, max(end, 1), rows)
    return [Slice(which.path, start, min(start + rows, end), version=version) for start in starts]


def hf_rows(which: HfSet, part: Slice) -> Iterator[dict[str, Any]]:
    """The rows of a slice. Raises Stop when the set can't be read, or is not the one that was cut."""
    with _told(which):
        if part.version and not which.stream:
            yield from _stored(which, part)
        else:
            # Where a run goes on streaming what it began to store, the slices before are read and passed over.
            yield from itertools.islice(_streamed(which, part.version), part.start, part.stop)


def _streamed(which: HfSet, version: str) -> Iterator[dict[str, Any]]:
    import datasets

    if version:
        _check_folder(which.path, version)
    revision = version or which.revision
    rows = datasets.load_dataset(which.path, which.config, split=which.split, revision=revision, streaming=True)
    if not rows.features:
        return iter(rows)
    # Not selected: files may lack a column that others have. One broken image among what nobody reads is no harm.
    plain = rows.decode(False)
    features = {name: rows.features[name] if which.reads(name) else plain.features[name] for name in rows.features}
    return iter(plain.cast(datasets.Features(features)))


def _stored(which: HfSet, part: Slice) -> Iterator[dict[str, Any]]:
    table = _table(which, part.version)
    stop = len(table) if part.stop is None else part.stop
    if stop > len(table):
        raise ValueError(f"it has {len(table):,} rows here and had {stop:,} or more when it was cut into slices")
    names = dict.fromkeys(table.column_names)
    columns = [name for name in names if which.reads(name)]
    if not columns:
        yield from map(dict, itertools.repeat(names, stop - part.start))
        return
    # By columns: row by row costs the library ten times as much.
    for batch in table.select(range(part.start, stop)).select_columns(columns).iter(batch_size=_BATCH_ROWS):
        for values in zip(*batch.values(), strict=True):
            yield names | dict(zip(batch, values, strict=True))


def _table(which: HfSet, version: str) -> Any:
    """The set as a datasets.Dataset whose rows are mapped from files; stored first where this node lacks it."""
    import datasets

    builder = _builder(which.path, which.config, version)
    split = builder.info.splits.get(which.split)
    if split is not None and not split.num_examples:
        # There is no file to map then.
        return datasets.Dataset.from_dict({})
    return builder.as_dataset(which.split, in_memory=False)


@lru_cache(maxsize=64)
def _builder(path: str, config: str | None, version: str) -> Any:
    """What knows where a set is stored on this node; kept, as finding it asks the Hub. It holds no rows."""
    import datasets

    builder = datasets.load_dataset_builder(path, config, revision=version)
    builder.download_and_prepare()
    # Last: what changed while it was stored is seen too.
    _check_folder(path, version)
    return builder


def _check_folder(path: str, version: str) -> None:
    """Raise ValueError for a folder with other content than the slices were cut from; a commit is what it was."""
    here = folder_content(path)
    if here and here != version:
        raise ValueError(
            "its files here are not those that it was cut into slices from; "
            "give every node the same ones and run the command again"
        )


def _check_split(which: HfSet, files: Any) -> None:
    """Raise ValueError for a split that has no files, before everything else is downloaded."""
    names = [str(name) for name in files or ()]
    if names and which.split not in (*names, "all"):
        raise ValueError(f"no split {which.split!r}; there are {', '.join(names)}")


@contextmanager
def _told(which: HfSet) -> Iterator[None]:
    """Turn what the library and the network raise into one line.

    Its casts raise TypeError, a set that comes as a script RuntimeError, a format without its package ImportError.
    """
    import datasets
    import httpx
    import pyarrow as pa

    plain = (OSError, ValueError, TypeError, RuntimeError, ImportError)
    try:
        yield
    except (*plain, pa.ArrowException, httpx.HTTPError, datasets.exceptions.DatasetsError) as error:
        # While it stores a set it says only that this failed; the cause is the reason.
        told = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        reason = " ".join(str(told or error).split()) or type(error).__name__
        raise Stop(f"source {which.source}: data set {which.path} can't be read: {reason[:_REASON_CHARS]}") from error
