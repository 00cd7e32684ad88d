"""What a run's ledger holds, summed up: by who answered, on which day, and how the calls ended.

Read file by file with only the columns that are counted; no more than one shard's keys are in memory.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
import pyarrow as pa

from pipeline.errors import Stop
from pipeline.ledger import FOLDER, OPEN
from pipeline.store import Store

_SUMMED = ("prompt_tokens", "thought_tokens", "reply_tokens", "cost_usd", "unsure_usd")
_COLUMNS = ("key", "engine", "outcome", "finish_reason", "bought_at", "caller", *_SUMMED)


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Who answered, on which day (UTC, 2026-01-31), and how: answered, truncated, refused or failed."""

    engine: str
    day: str
    outcome: str


@dataclass(slots=True)
class Sums:
    """Calls, their tokens, what they were billed and the most that was billed beyond it, USD."""

    calls: int = 0
    prompt_tokens: int = 0
    thought_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0
    unsure_usd: float = 0.0

    @property
    def most_usd(self) -> float:
        """The most that was billed, USD."""
        return self.cost_usd + self.unsure_usd

    def add(self, other: "Sums") -> None:
        """Count another group in."""
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.thought_tokens += other.thought_tokens
        self.reply_tokens += other.reply_tokens
        self.cost_usd += other.cost_usd
        self.unsure_usd += other.unsure_usd


@dataclass
class Bought:
    """All that a ledger holds. `open_usd`: the most that calls which were open when their caller was last heard of
    can have cost beyond what the ledger holds, by caller; `torn`: files that can't be read."""

    groups: dict[Group, Sums] = field(default_factory=dict)
    open_usd: dict[str, float] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)

    @property
    def total(self) -> Sums:
        """The sums over all groups."""
        total = Sums()
        for sums in self.groups.values():
            total.add(sums)
        return total


@dataclass
class _Shard:
    groups: dict[Group, Sums] = field(default_factory=dict)
    by_caller: Counter[str] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    _seen: set[tuple[str, float, str]] = field(default_factory=set)

    def add(self, table: pa.Table) -> None:
        """Count a file's lines in; one that a merge that was killed left twice is one bill."""
        there = set(table.column_names)
        columns = [table[name].to_pylist() if name in there else [0] * table.num_rows for name in _COLUMNS]
        for key, engine, outcome, finish_reason, bought_at, caller, *figures in zip(*columns, strict=True):
            if (key, bought_at, outcome) in self._seen:
                continue
            self._seen.add((key, bought_at, outcome))
            cut = outcome == "answered" and finish_reason == "length"
            day = datetime.fromtimestamp(bought_at, UTC).date().isoformat()
            group = Group(engine, day, "truncated" if cut else outcome)
            self.groups.setdefault(group, Sums()).add(Sums(1, *figures))
            self.by_caller[caller or ""] += sum(figures[-2:])


def bought(store: Store, *, below: str = "") -> Bought:
    """The sums of a run's ledger, or of what it holds below a folder. Raises Stop for a folder that is no run."""
    if not store.exists(FOLDER) and not store.exists("recipe.yaml"):
        raise Stop(f"{store.root} is no run: name a run's folder, which is <storage>/<name> of its recipe")
    part = f"{FOLDER}/{below}" if below else FOLDER
    held = Bought()
    by_caller: Counter[str] = Counter()
    for folder in sorted({name.rpartition("/")[0] for name in store.names_below(part, ".parquet")}):
        shard = _shard(store, folder)
        for group, sums in shard.groups.items():
            held.groups.setdefault(group, Sums()).add(sums)
        by_caller.update(shard.by_caller)
        held.torn += shard.torn
    held.groups = dict(sorted(held.groups.items()))
    if not below:
        # A caller's open calls are charged as one sum, whatever part they are for.
        held.open_usd = dict(_still_open(store, by_caller, held.torn))
    return held


def _shard(store: Store, folder: str) -> _Shard:
    while True:
        shard = _Shard()
        try:
            for name in store.names(folder, ".parquet"):
                try:
                    shard.add(store.read_columns(f"{folder}/{name}", _COLUMNS))
                except pa.ArrowInvalid:
                    shard.torn.append(f"{folder}/{name}")
        except FileNotFoundError:
            # Merged into another file since it was listed, perhaps one that was not: count the shard again.
            continue
        return shard


def _still_open(store: Store, by_caller: Counter[str], torn: list[str]) -> Iterator[tuple[str, float]]:
    if not store.exists(OPEN):
        return
    try:
        charges: dict[str, float] = store.read_json(OPEN)
    except orjson.JSONDecodeError:
        torn.append(OPEN)
        return
    for caller, usd in sorted(charges.items()):
        yield caller, max(0.0, usd - by_caller[caller])
