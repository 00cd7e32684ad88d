"""An actor that buys one generation's calls, several shards at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import Any

from cluster.asks import Ask, ModelAt, TeacherAt, read_kept
from cluster.engine import Engine
from cluster.limits import RayOffice
from cluster.progress import Meter
from cluster.session import secret
from pipeline.batch_teacher import BatchTeacher
from pipeline.collector import look_seldom
from pipeline.endpoints import TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import buy
from pipeline.leases import Leases
from pipeline.ledger import Call, Entry, Ledger
from pipeline.store import Store
from pipeline.teacher import Teacher, places_of
from pipeline.truncated import Truncated, chain

_BATCHES_AT_ONCE = 8


class Generate:
    """Part in, the same part out once all its calls are in the ledger, or with why they are not."""

    def __init__(self, store: Store, ask: Ask, invocation: str, board: Any, keeper: Any) -> None:
        self._store = store
        self._ask = ask
        self._invocation = invocation
        self._keeper = keeper
        self._meter = Meter(board)
        self._slots = asyncio.Semaphore(slots_of(ask.engine))
        self._engine: Teacher | BatchTeacher | Engine | None = None
        self._opening = asyncio.Lock()
        self._stop = ""
        look_seldom()

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """One part in, the same part out."""
        row = {name: values[0] for name, values in batch.items()}
        # What stopped one shard stops them all: nothing more is asked, what is in flight is finished.
        row["stop"] = row["stop"] or self._stop
        if not row["stop"]:
            try:
                unfinished = await self._buy(row)
            except Stop as stop:
                row["stop"] = self._stop = str(stop)
            else:
                row["unfinished"] = row["unfinished"] or (unfinished[0] if unfinished else "")
        self._meter.flush()
        yield {name: [value] for name, value in row.items()}

    async def _buy(self, row: dict[str, Any]) -> list[str]:
        engine = await self._open()
        ledger = Ledger(self._store, row["ledger"])
        wanted, known = await asyncio.to_thread(self._wanted, row["problems"], ledger)
        missing = [(list(self._missing(calls, known, truncated)), truncated) for calls, truncated in wanted]
        if isinstance(engine, Teacher | BatchTeacher):
            asked = engine.identity
            if isinstance(engine, Teacher):
                failed = (entry.key for entry in ledger.failed if entry.invocation != self._invocation)
                engine.failed_before |= Counter(failed)
            engine.proven |= any(e.engine == asked and e.outcome == "answered" for e in known.values())
        # A batch that was taken over may hold answers that an earlier process has put there already.
        bought = [call.key for calls, _ in missing for call in calls] + list(known)

        def told(entry: Entry) -> None:
            bought.append(entry.key)
            self._told(entry)

        def part(calls: list[Call], truncated: Truncated) -> Coroutine[Any, Any, list[str]]:
            return buy(
                calls,
                engine=engine,
                ledger=ledger,
                known=known,
                truncated=truncated,
                slots=self._slots,
                invocation=self._invocation,
                told=told,
            )

        try:
            return await _all(part(calls, truncated) for calls, truncated in missing)
        finally:
            await engine.bought(bought)

    def _missing(self, calls: list[Call], known: dict[str, Entry], truncated: Truncated) -> Iterator[Call]:
        for call in calls:
            held, wanted = chain(call, known, truncated)
            self._meter.add({"calls/reused": len(held)})
            if wanted is not None:
                yield call

    def _wanted(self, problems: str, ledger: Ledger) -> tuple[list[tuple[list[Call], Truncated]], dict[str, Entry]]:
        """The calls that this stage wants for a part, by what is done about truncated ones, and the part's ledger."""
        kept = read_kept(self._store, problems)
        asks = self._ask.every
        wanted = [([call for problem in kept for call in ask.calls(problem)], ask.generation.truncated) for ask in asks]
        return wanted, ledger.read()

    def _told(self, entry: Entry) -> None:
        self._meter.add(
            {
                "calls/bought": 1,
                "calls/retried": entry.attempts - 1,
                "tokens/prompt": entry.prompt_tokens,
                "tokens/thought": entry.thought_tokens,
                "tokens/reply": entry.reply_tokens,
                "cost_usd": entry.cost_usd + entry.unsure_usd,
            }
        )

    async def _open(self) -> Teacher | BatchTeacher | Engine:
        # Several shards come at once, and there is one engine for all.
        async with self._opening:
            if self._engine is None:
                at = self._ask.engine
                if isinstance(at, TeacherAt):
                    self._engine = await self._teacher(at).__aenter__()
                else:
                    self._engine = Engine(at.settings, model=at.model, identity=at.identity, told=self._meter.set)
            return self._engine

    def _teacher(self, at: TeacherAt) -> Teacher | BatchTeacher:
        keys = [secret(end.api_key_env, end.api_key_file) for end in at.endpoints]
        places, office = places_of(at.endpoints, at.settings, keys), RayOffice(self._keeper, at.name)
        if at.settings.batch is not None:
            generation = self._ask.generation.name
            name = generation if at.name == "teacher" else f"{generation}-{at.name}"
            return BatchTeacher(at.settings, places[0], office, self._store, name)
        return Teacher(at.settings, places, Leases(office, len(places)))


async def _all(parts: Iterable[Coroutine[Any, Any, list[str]]]) -> list[str]:
    """What all the parts give; what one of them raises is raised once all have ended."""
    given = await asyncio.gather(*parts, return_exceptions=True)
    for each in given:
        if isinstance(each, BaseException):
            raise each
    return [why for each in given if not isinstance(each, BaseException) for why in each]


def slots_of(engine: TeacherAt | ModelAt) -> int:
    """Calls that one actor holds at once; calls in a batch wait for hours and cost it nothing."""
    settings = engine.settings
    if isinstance(settings, TeacherSettings):
        return settings.in_flight if settings.batch is None else _BATCHES_AT_ONCE * settings.batch.calls
    return settings.slots
