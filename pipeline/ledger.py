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
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import xxhash

from pipeline.record import from_table, to_table
from pipeline.store import Store


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
    """A call and what came back. `outcome` is "answered" or "refused" (with `why`): both are final.

    `attempts` counts the requests sent for it, `cost_usd` is what the answered one was billed, `bought_at` is Unix time
    in seconds, `invocation` names the command that bought it.
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


def call_key(*, engine: str, messages: str, sampling: str, seed: int, draw: int) -> str:
    """32 hex digits over all that decides the answer: who is asked, what, how, and which draw."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps([engine, messages, sampling, seed, draw]))


@dataclass
class Ledger:
    """The answers of one shard: read them, add to them. One object belongs to one event loop."""

    store: Store
    part: str
    _waiting: list[tuple[Entry, asyncio.Future[None]]] = field(default_factory=list)
    _writer: asyncio.Task[None] | None = None

    @property
    def folder(self) -> str:
        """Where this shard's answers lie, relative to the run."""
        return f"ledger/{self.part}"

    def read(self) -> dict[str, Entry]:
        """All answers of the shard by key; of two for one key (two processes raced) the first bought."""
        while True:
            # A merge in another process may replace files after they were listed; then the list is stale.
            with contextlib.suppress(FileNotFoundError):
                return self._read()

    async def add(self, entry: Entry) -> None:
        """Return when the answer is on storage. Raises Stop when it can't be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        await done

    def merge(self) -> None:
        """Turn the shard's many small files into one; killed half way, nothing is lost and a reader sees no double."""
        names = self.store.names(self.folder, ".parquet")
        if len(names) < 2:
            return
        tables = [self.store.read_table(f"{self.folder}/{name}") for name in names]
        self._write(pa.concat_tables(tables))
        for name in names:
            self.store.delete(f"{self.folder}/{name}")

    def _read(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for name in self.store.names(self.folder, ".parquet"):
            for entry in from_table(self.store.read_table(f"{self.folder}/{name}"), Entry):
                held = entries.get(entry.key)
                if held is None or entry.bought_at < held.bought_at:
                    entries[entry.key] = entry
        return entries

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, to_table([entry for entry, _ in batch], Entry))
            except Exception as error:  # noqa: BLE001 every waiter must hear of it, whatever it is
                _settle((done for _, done in batch), error)
            else:
                _settle((done for _, done in batch), None)

    def _write(self, table: pa.Table) -> None:
        self.store.write_table(f"{self.folder}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet", table)


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
