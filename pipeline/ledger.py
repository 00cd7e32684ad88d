"""Every answer ever bought, keyed by content: what makes "nothing is bought twice" true.

One folder a shard, `ledger/<set>/shard-00042/`. Each process that gets answers adds small Parquet files to it;
an answer counts as bought only once its file is written, and nobody downstream sees it before. Answers that arrive
while a file is being written share the next one. When a shard is complete its files are merged into one. Reading a
shard's ledger needs that shard's answers in memory, never the run's.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
import pyarrow as pa
import xxhash

from pipeline.errors import Stop
from pipeline.record import from_table, to_table
from pipeline.store import Store

FOLDER = "ledger"
OPEN = f"{FOLDER}/open.json"
"""The charges, USD, of callers that have not closed: the keeper of the limits writes it."""
_COMMIT_S, _REST = (0.03, 0.2), 5
_FULL = 64
_RETRY_S = (1, 2, 4, 8, 16, 30)
_COSTS = b"longthought.cost_usd_by_caller"
_REPLACES = b"longthought.replaces"
_COST_COLUMNS = ("caller", "cost_usd", "unsure_usd")


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of an engine once: one draw for one list of messages."""

    key: str
    problem_id: str
    generation: str
    engine: str
    draw: int
    seed: int
    messages: str
    sampling: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A call and what came back. `outcome` is "answered" or "refused" (with `why`), both final, or "failed": no answer
    this time, so a later run asks again.

    `attempts` counts the requests sent for it; `cost_usd` is what the answered one was billed, and `unsure_usd` the
    most that was billed beyond it, for requests that broke off or answers without a usage block. `bought_at` is Unix
    time in seconds, `invocation` names the command that bought it, `caller` the process.
    """

    key: str
    problem_id: str
    generation: str
    engine: str
    draw: int
    seed: int
    messages: str
    sampling: str
    outcome: str
    why: str
    thought: str
    reply: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    thought_tokens: int
    reply_tokens: int
    cost_usd: float
    seconds: float
    attempts: int
    bought_at: float
    invocation: str
    unsure_usd: float = 0.0
    caller: str = ""

    @property
    def final(self) -> bool:
        """Whether it is never asked again."""
        return self.outcome != "failed"


_NAMES = [field.name for field in fields(Entry)]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a folder of the ledger has cost, by caller, USD (unsure amounts at their most), and its torn files."""

    by_caller: dict[str, float]
    torn: list[str]


def call_key(*, engine: str, messages: str, sampling: str, seed: int, draw: int) -> str:
    """32 hex digits over all that decides the answer: who is asked, what, how, and which draw."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps([engine, messages, sampling, seed, draw]))


@dataclass
class Ledger:
    """The answers of one shard: read them, add to them. One object belongs to one event loop."""

    store: Store
    part: str
    torn: list[str] = field(default_factory=list)
    """Files that the last read could not make out: half written by a machine that went down."""
    failed: list[Entry] = field(default_factory=list)
    """Calls of the last read that found no answer; they may have cost something."""
    _waiting: list[tuple[Entry, asyncio.Future[None]]] = field(default_factory=list)
    _full: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.Task[None] | None = None

    @property
    def folder(self) -> str:
        """Where this shard's answers lie, relative to the run."""
        return f"{FOLDER}/{self.part}"

    def read(self) -> dict[str, Entry]:
        """All final answers of the shard by key; of two for one key (two processes raced) the first bought."""
        while True:
            # A merge in another process may replace files after they were listed; then the list is stale.
            with contextlib.suppress(FileNotFoundError):
                return self._read()

    async def add(self, entry: Entry) -> None:
        """Return when the answer is on storage. Raises Stop when it can't be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if len(self._waiting) >= _FULL:
            self._full.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        await done

    def merge(self) -> None:
        """Turn the shard's many small files into one; killed half way, nothing is lost or counted twice."""
        names = self._names()
        if len(names) < 2:
            return
        tables = self._tables(names)
        merged = set(names) - set(self.torn)
        if len(tables) > 1:
            # Files of an earlier version lack columns; read as rows they take the defaults.
            every = pa.concat_tables(
                table if table.schema.names == _NAMES else to_table(from_table(table, Entry), Entry)
                for table in tables.values()
            )
            self._write(_without_doubles(every), replaces=sorted(merged))
        else:
            merged -= set(tables)
        for name in sorted(merged):
            self.store.delete(f"{self.folder}/{name}")

    def _read(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        self.failed = []
        for table in self._tables(self._names()).values():
            for entry in from_table(table, Entry):
                held = entries.get(entry.key)
                if not entry.final:
                    self.failed.append(entry)
                elif held is None or entry.bought_at < held.bought_at:
                    entries[entry.key] = entry
        return entries

    def _names(self) -> list[str]:
        """The shard's files. A listing that a merge overtakes may show neither the old files nor the new one, so two
        must agree."""
        names = self.store.names(self.folder, ".parquet")
        while (again := self.store.names(self.folder, ".parquet")) != names:
            names = again
        return names

    def _tables(self, names: list[str]) -> dict[str, pa.Table]:
        """What the files hold by name, without those that a merge replaced and did not live to delete."""
        self.torn = []
        tables: dict[str, pa.Table] = {}
        for name in names:
            try:
                tables[name] = self.store.read_table(f"{self.folder}/{name}")
            except pa.ArrowInvalid:
                self.torn.append(name)
        replaced = {old for table in tables.values() for old in _replaced(table.schema.metadata or {})}
        return {name: table for name, table in tables.items() if name not in replaced}

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            self._full.clear()
            started = time.monotonic()
            try:
                await self._write_through(to_table([entry for entry, _ in batch], Entry))
            except Exception as error:  # noqa: BLE001 every waiter must hear of it, whatever it is
                _settle((done for _, done in batch), error)
            else:
                _settle((done for _, done in batch), None)
            if self._waiting:
                # Slow storage gets fewer, larger files: writing takes a small share of the time. A full file goes at
                # once, as those who wait for it hold the slots of further calls.
                low, high = _COMMIT_S
                with contextlib.suppress(TimeoutError):
                    rest = min(high, max(low, _REST * (time.monotonic() - started)))
                    await asyncio.wait_for(self._full.wait(), rest)

    async def _write_through(self, table: pa.Table) -> None:
        """Write, and on storage over a network try again for a minute: these answers are paid for."""
        for pause in () if self.store.is_local else _RETRY_S:
            try:
                return await asyncio.to_thread(self._write, table)
            except Stop:
                await asyncio.sleep(pause)
        return await asyncio.to_thread(self._write, table)

    def _write(self, table: pa.Table, *, replaces: list[str] | None = None) -> None:
        name = f"{self.folder}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        metadata = {_COSTS: orjson.dumps(_costs(table)), _REPLACES: orjson.dumps(replaces or [])}
        self.store.write_table(name, table.replace_schema_metadata(metadata))


def spent(store: Store, *, folder: str = FOLDER) -> Spent:
    """What the whole ledger has cost, from the files' footers alone: start-up does not grow with the answers."""
    costs: dict[str, dict[str, float]] = {}
    replaced, torn = set(), []
    for name in store.names_below(folder, ".parquet"):
        try:
            metadata = store.read_metadata(name)
            costs[name] = orjson.loads(metadata[_COSTS]) if _COSTS in metadata else _costs(store.read_table(name))
        except FileNotFoundError:
            # Merged into another file since it was listed, perhaps one that was not: count again.
            return spent(store, folder=folder)
        except pa.ArrowInvalid:
            torn.append(name)
        else:
            replaced |= {f"{name.rpartition('/')[0]}/{old}" for old in _replaced(metadata)}
    by_caller: Counter[str] = Counter()
    for name in costs.keys() - replaced:
        by_caller.update(costs[name])
    return Spent(dict(by_caller), torn)


def _replaced(metadata: Mapping[bytes, bytes]) -> list[str]:
    """The files that a merged file stands for; they may still be there when the merge was killed."""
    names: list[str] = orjson.loads(metadata.get(_REPLACES, b"[]"))
    return names


def _costs(table: pa.Table) -> dict[str, float]:
    """USD by caller."""
    costs: Counter[str] = Counter()
    columns = [table[name].to_pylist() if name in table.column_names else None for name in _COST_COLUMNS]
    callers, cost, unsure = (column or [] for column in columns)
    for at, usd in enumerate(cost):
        costs[callers[at] if callers else ""] += usd + (unsure[at] if unsure else 0.0)
    return dict(costs)


def _without_doubles(table: pa.Table) -> pa.Table:
    """Two merges at once leave lines twice; equal ones are kept once, as each is one bill."""
    if table.num_rows == len(set(table["key"].to_pylist())):
        return table
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for at, line in enumerate(zip(*(table[name].to_pylist() for name in ("key", "bought_at", "outcome")), strict=True)):
        if line not in seen:
            seen.add(line)
            kept.append(at)
    return table.take(pa.array(kept))


def _settle(waiters: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    for done in waiters:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys sorted, so that equal values give equal keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
