"""Pack a phase's examples into windows on the cluster, and read windows back by number.

    rows -> groups of rows -> windows of each group; what fills no window there is packed anew with that of others

Written to a folder: windows-*.arrow, one record batch a window; left_out.parquet, each example that is not in them and
why; and last meta.json. Groups, and so all files, follow from the data alone, never from the cluster.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, chain, islice, pairwise
from time import monotonic
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import xxhash

from cluster.each import each
from cluster.pack_groups import (
    LEFT_OUT_SCHEMA,
    TOO_LONG,
    Counted,
    Group,
    Packing,
    count,
    done,
    marks,
    pack_group,
    pack_rest,
    to_window,
)
from pipeline.alike.overlap import Index
from pipeline.errors import Stop
from pipeline.pack import Window
from pipeline.settings import Settings, fingerprint
from pipeline.store import Store

_GROUP_ROWS = 4096
_RESTS_TOGETHER = 256
_AHEAD = 4
_NAMED = 8


class PackMeta(Settings):
    """What a phase's packs hold."""

    made_of: str
    """The fingerprint of what they were made of."""
    window: int
    """Tokens of a window, with its padding."""
    pad_id: int
    """The token for padding."""
    examples: int
    """Examples in the windows."""
    left_out: dict[str, int]
    """Examples that are in no window, by reason."""
    left_out_rows: str = ""
    """The fingerprint of which examples these are."""
    truncated: int
    """Examples in the windows that were cut at a window's length."""
    longest: int
    """Tokens of the longest example in the windows."""
    files: tuple[str, ...]
    """The files of windows, in the order of the windows' numbers."""
    windows_in_files: tuple[int, ...]
    """How many windows each of them has."""
    num_tokens: tuple[int, ...]
    """Tokens of each window that are not padding."""
    num_labels: tuple[int, ...]
    """Trained tokens of each window."""

    @property
    def windows(self) -> int:
        """How many windows."""
        return len(self.num_tokens)

    @property
    def padding_fraction(self) -> float:
        """The share of all positions that is padding."""
        return 1 - sum(self.num_tokens) / max(1, self.windows * self.window)


def make_packs(
    *,
    store: Store,
    folder: str,
    source: tuple[Store, str],
    generations: Sequence[str],
    split: Literal["train", "validation"],
    model: str,
    window: int,
    too_long: Literal["drop", "truncate"],
    seed: int,
    cpus: float,
    made_of: str,
    held_out: Callable[[], Index | None] = lambda: None,
) -> PackMeta | None:
    """Pack the rows of `split`-*.parquet in a folder of a store that are of these generations (none: all of them).

    `made_of` is the fingerprint of the rows and of how they are packed: packs that are there already are kept, and
    what was cut off goes on with the groups that are not done. None where no row is held back for validation, or none
    that fits; for training that raises Stop. What matches the index that `held_out` gives is left out.
    """
    if store.exists(f"{folder}/meta.json") and (made := read_meta(store, folder)).made_of == made_of:
        return made if made.windows else None
    rows, place = source
    work = f"{folder}/work-{fingerprint(made_of, LEFT_OUT_SCHEMA.names)[:12]}"
    wanted = tuple(generations)
    what = Packing(store, folder, work, rows, place, split, wanted, model, window, too_long, seed, held_out())
    if not done(what):
        store.delete_folder(folder)
    names = [name for name in rows.names(place, ".parquet") if name.startswith(f"{split}-")]
    _pack(what, _groups(_counts(what, names, cpus)), cpus)
    for _ in each([made_of], lambda one: _finish(what, one), name=f"{_name(what)}-end", cpus=cpus):
        pass
    store.delete_folder(work)
    made = read_meta(store, folder)
    return made if made.windows else None


def read_meta(store: Store, folder: str) -> PackMeta:
    """What `make_packs` wrote last."""
    return PackMeta.model_validate(store.read_json(f"{folder}/meta.json"))


class Windows:
    """Windows by number; to read one, none of the others is read."""

    def __init__(self, store: Store, folder: str) -> None:
        self.meta = read_meta(store, folder)
        self._store, self._folder = store, folder
        self._ends = np.cumsum(self.meta.windows_in_files, dtype=np.int64)

    def __len__(self) -> int:
        return self.meta.windows

    def __getitem__(self, number: int) -> Window:
        if not 0 <= number < len(self):
            raise IndexError(f"window {number} of {len(self)}")
        file = int(np.searchsorted(self._ends, number, side="right"))
        first = int(self._ends[file]) - self.meta.windows_in_files[file]
        return to_window(self._store.read_batch(f"{self._folder}/{self.meta.files[file]}", number - first))


class Ahead:
    """Windows in the order of `numbers`, the next few read in threads meanwhile; None stays None.

    `waited`: the seconds for which the reader had to wait so far; `number`: of the window that was read last. What goes
    wrong in a read is raised where its window is due.
    """

    def __init__(self, windows: Windows, numbers: Iterable[int | None], *, ahead: int = _AHEAD) -> None:
        self.waited = 0.0
        self.number: int | None = None
        self._windows, self._numbers = windows, iter(numbers)
        self._threads = ThreadPoolExecutor(ahead, thread_name_prefix="windows")
        self._due: deque[tuple[int | None, Future[Window | None]]] = deque()
        self._more(ahead)

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Window | None]:
        return self

    def __next__(self) -> Window | None:
        if not self._due:
            self.close()
            raise StopIteration
        started = monotonic()
        self.number, due = self._due.popleft()
        window = due.result()
        self.waited += monotonic() - started
        self._more(1)
        return window

    def close(self) -> None:
        """Read no further."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _more(self, count: int) -> None:
        for number in islice(self._numbers, count):
            self._due.append((number, self._threads.submit(self._read, number)))

    def _read(self, number: int | None) -> Window | None:
        return None if number is None else self._windows[number]


def _pack(what: Packing, groups: Sequence[Group], cpus: float) -> None:
    """Pack the groups that are not done yet, then what they hand on."""
    there, name = done(what), _name(what)
    missing = [group for group in groups if group.number not in there]
    for _ in each(missing, lambda group: pack_group(what, group), name=name, cpus=cpus):
        pass
    if len(groups) < 2:
        return
    starts = range(0, len(groups), _RESTS_TOGETHER)
    rests = [(len(groups) + n, groups[start : start + _RESTS_TOGETHER]) for n, start in enumerate(starts)]

    def rest(one: tuple[int, Sequence[Group]]) -> None:
        pack_rest(what, one[0], [group.number for group in one[1]])

    for _ in each([one for one in rests if one[0] not in there], rest, name=f"{name}-rest", cpus=cpus):
        pass


def _counts(what: Packing, names: Sequence[str], cpus: float) -> list[Counted]:
    found = list(each(names, lambda name: count(what, name), name=f"{_name(what)}-count", cpus=cpus))
    if what.split == "train" and not any(one.wanted for one in found):
        raise Stop(_nothing(what, names, found))
    return sorted(found, key=lambda one: one.name)


def _nothing(what: Packing, names: Sequence[str], found: Sequence[Counted]) -> str:
    where = what.source.address(what.place)
    if not names:
        return f"{where} has no file train-*.parquet: nothing to train on"
    there = sorted({generation for one in found for generation in one.generations})[:_NAMED]
    if not there:
        return f"the data set in {where} is empty: nothing to train on"
    return f"no example in {where} is of {', '.join(what.generations)}; there are {', '.join(there)}"


def _groups(counts: Sequence[Counted]) -> list[Group]:
    """All wanted rows in order, split evenly."""
    ends = list(accumulate(one.wanted for one in counts))
    total = ends[-1] if ends else 0
    groups = math.ceil(total / _GROUP_ROWS)
    borders = [number * total // groups for number in range(groups + 1)] if groups else []
    found = []
    for number, (start, end) in enumerate(pairwise(borders)):
        parts = (
            (one.name, max(start - (last - one.wanted), 0), min(end - (last - one.wanted), one.wanted))
            for one, last in zip(counts, ends, strict=True)
            if last > start and last - one.wanted < end
        )
        found.append(Group(number, tuple(part for part in parts if part[1] < part[2]), alone=groups == 1))
    return found


def _finish(what: Packing, made_of: str) -> None:
    """Join what the groups left out, and write meta.json."""
    found = marks(what)
    left_out: Counter[str] = Counter()
    for one in found:
        left_out.update(one.left_out)
    names = what.store.names(f"{what.work}/left_out", ".parquet")
    if what.split == "train" and not any(one.examples for one in found):
        raise Stop(_none_fits(what, names, left_out))
    rows = xxhash.xxh3_128()
    with what.store.writing(f"{what.folder}/left_out.parquet") as write:
        write(LEFT_OUT_SCHEMA.empty_table())
        for name in names:
            part = what.store.read_table(f"{what.work}/left_out/{name}")
            rows.update(repr(part["example"].to_pylist()).encode())
            write(part)
    meta = PackMeta(
        made_of=made_of,
        window=what.window,
        pad_id=max((one.pad_id for one in found), default=0),
        examples=sum(one.examples for one in found),
        left_out=dict(sorted(left_out.items())),
        left_out_rows=rows.hexdigest(),
        truncated=sum(one.truncated for one in found),
        longest=max((one.longest for one in found), default=0),
        files=_joined(one.files for one in found),
        windows_in_files=_joined(one.windows for one in found),
        num_tokens=_joined(one.num_tokens for one in found),
        num_labels=_joined(one.num_labels for one in found),
    )
    what.store.write_json(f"{what.folder}/meta.json", meta.model_dump())


def _none_fits(what: Packing, names: Sequence[str], left_out: Counter[str]) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
    text = f"no example can be trained on: {told}"
    if not left_out[TOO_LONG]:
        return text
    shortest = []
    for name in names:
        table = what.store.read_table(f"{what.work}/left_out/{name}")
        shortest.append(pc.min(table.filter(pc.equal(table["reason"], TOO_LONG))["num_tokens"]).as_py())
    least = min(one for one in shortest if one is not None)
    return f"{text}; train.window={what.window} tokens, the shortest of those has {least}: raise train.window"


def _name(what: Packing) -> str:
    return what.folder.replace("/", "-")


def _joined(parts: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(parts))
