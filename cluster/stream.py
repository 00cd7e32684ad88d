"""Generate and verify as one Ray Data stream of shards: the only way that traces are made, for training and for scores.

    parts -> Generate (an actor pool for each generation) -> Collect (verify, write) -> counts

What flows is the name of a part, never its rows: answers go to the ledger the moment they are bought, and Collect
makes a part's traces from its problems and its ledger alone. So the same traces come out on any cluster, an actor that
is lost redoes only calls that were in flight, and the driver holds one line of counts a part.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from pydantic import Field

from cluster.engine import Engine, EngineSettings, actor_options
from cluster.progress import Meter
from cluster.session import secret
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts, count_traces
from pipeline.generate import Generation, buy, calls_for
from pipeline.ledger import Call, Entry, Ledger
from pipeline.record import Problem, Trace, from_table, to_table
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.teacher import Teacher, TeacherSettings
from pipeline.trace import traces_of, verified
from pipeline.verify import Verifier, VerifySettings

_SHARDS_AT_ONCE = 4


class StreamSettings(Settings):
    """What the actors of generate and verify take of the cluster."""

    caller_cpus: float = Field(default=0.5, gt=0)
    """Logical CPUs of one actor that calls the teacher."""
    verifier_cpus: float = Field(default=0.5, gt=0)
    """Logical CPUs of one verifying actor."""
    verifiers: int = Field(default=1, gt=0)
    """The most verifying actors."""


@dataclass(frozen=True, slots=True)
class Part:
    """One shard on its way: the names of its problems and traces, and of its folder in the ledger."""

    problems: str
    ledger: str
    traces: str


@dataclass(frozen=True, slots=True)
class TeacherAt:
    """The teacher and where it is reached."""

    settings: TeacherSettings
    base_url: str


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model for vLLM: where it lies, and who it is in the ledger's keys."""

    settings: EngineSettings
    model: str
    identity: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A generation with all that its calls depend on."""

    generation: Generation
    template: str
    engine: TeacherAt | ModelAt
    seed: int

    @property
    def identity(self) -> str:
        """Who answers."""
        return self.engine.settings.identity if isinstance(self.engine, TeacherAt) else self.engine.identity

    def calls(self, problem: Problem) -> list[Call]:
        """The calls it wants for a problem."""
        seeded = self.engine.settings.send_seed if isinstance(self.engine, TeacherAt) else True
        return calls_for(
            problem,
            self.generation,
            template=self.template,
            identity=self.identity,
            seeded=seeded,
            seed=self.seed,
        )


def stream(
    parts: Sequence[Part],
    asks: Sequence[Ask],
    *,
    name: str,
    store: Store,
    settings: StreamSettings,
    verify: VerifySettings,
    invocation: str,
    board: Any,
) -> Iterator[TraceCounts]:
    """Make and verify the traces of all parts, and yield each part's counts as it is finished.

    Raises Stop when the run can't go on, or at the end when calls stayed unfinished.
    """
    rows = ray.data.from_items([_row(part) for part in parts], override_num_blocks=len(parts))
    for ask in asks:
        rows = _generate(rows, ask, store=store, settings=settings, invocation=invocation, board=board)
    rows = rows.map_batches(
        Collect,
        fn_constructor_args=(store, list(asks), verify, invocation, board),
        batch_size=1,
        num_cpus=settings.verifier_cpus,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=settings.verifiers),
    )
    rows.set_name(name)
    unfinished: list[str] = []
    for row in rows.iter_rows():
        if row["stop"]:
            raise Stop(row["stop"])
        if row["unfinished"]:
            unfinished.append(row["unfinished"])
        else:
            yield row["counts"]
    if unfinished:
        raise Stop(f"{len(unfinished)} shards have unanswered calls ({unfinished[0]}): run the same command again")


def _generate(rows: Any, ask: Ask, *, store: Store, settings: StreamSettings, invocation: str, board: Any) -> Any:
    engine = ask.engine
    options = {"num_cpus": settings.caller_cpus} if isinstance(engine, TeacherAt) else actor_options(engine.settings)
    return rows.map_batches(
        Generate,
        fn_constructor_args=(store, ask, invocation, board),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=engine.settings.actors,
            max_concurrent_calls_per_actor=_SHARDS_AT_ONCE,
            # No more than it works on: a shard that waits in one actor's queue idles another.
            max_tasks_in_flight_per_actor=_SHARDS_AT_ONCE,
        ),
        **options,
    )


class Generate:
    """An actor that buys one generation's calls, several shards at once."""

    def __init__(self, store: Store, ask: Ask, invocation: str, board: Any) -> None:
        self._store = store
        self._ask = ask
        self._invocation = invocation
        self._meter = Meter(board)
        self._slots = asyncio.Semaphore(ask.engine.settings.in_flight)
        self._engine: Teacher | Engine | None = None

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """One part in, the same part out once all its calls are in the ledger (or why they are not)."""
        row = {name: values[0] for name, values in batch.items()}
        if not row["stop"]:
            try:
                unfinished = await self._buy(row)
            except Stop as stop:
                row["stop"] = str(stop)
            else:
                row["unfinished"] = row["unfinished"] or (unfinished[0] if unfinished else "")
        self._meter.flush()
        yield {name: [value] for name, value in row.items()}

    async def _buy(self, row: dict[str, Any]) -> list[str]:
        engine = await self._open()
        ledger = Ledger(self._store, row["ledger"])
        calls, known = await asyncio.to_thread(self._wanted, row["problems"], ledger)
        missing = [call for call in calls if call.key not in known]
        if isinstance(engine, Teacher):
            asked = engine.identity
            engine.proven |= any(e.engine == asked and e.outcome == "answered" for e in known.values())
        self._meter.add(reused=len(calls) - len(missing))
        return await buy(
            missing,
            engine=engine,
            ledger=ledger,
            slots=self._slots,
            invocation=self._invocation,
            told=self._told,
        )

    def _wanted(self, problems: str, ledger: Ledger) -> tuple[list[Call], dict[str, Entry]]:
        kept = read_kept(self._store, problems)
        return [call for problem in kept for call in self._ask.calls(problem)], ledger.read()

    def _told(self, entry: Entry) -> None:
        self._meter.add(
            bought=1,
            tokens=entry.thought_tokens + entry.reply_tokens,
            cost_usd=entry.cost_usd,
            retried=entry.attempts - 1,
        )

    async def _open(self) -> Teacher | Engine:
        if self._engine is None:
            at = self._ask.engine
            if isinstance(at, TeacherAt):
                teacher = Teacher(at.settings, at.base_url, api_key=secret(at.settings.api_key_env))
                self._engine = await teacher.__aenter__()
            else:
                self._engine = Engine(at.settings, model=at.model, identity=at.identity)
        return self._engine


class Collect:
    """An actor that turns a part's problems and ledger into its verified traces, and writes them."""

    def __init__(self, store: Store, asks: Sequence[Ask], verify: VerifySettings, invocation: str, board: Any) -> None:
        self._store = store
        self._asks = asks
        self._invocation = invocation
        self._verifier = Verifier(verify)
        self._meter = Meter(board)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One part in; its counts out."""
        row = {name: values[0] for name, values in batch.items()}
        counts = TraceCounts()
        if not row["stop"] and not row["unfinished"]:
            try:
                counts = self._collect(row)
            except Stop as stop:
                row["stop"] = str(stop)
        self._meter.flush()
        return {name: [row[name]] for name in ("stop", "unfinished")} | {"counts": [counts]}

    def _collect(self, row: dict[str, Any]) -> TraceCounts:
        ledger = Ledger(self._store, row["ledger"])
        entries = ledger.read()
        traces = [
            trace
            for problem in read_kept(self._store, row["problems"])
            for ask in self._asks
            for trace in traces_of(problem, ask.calls(problem), entries)
        ]
        traces = verified(traces, self._verifier)
        self._store.write_table(row["traces"], to_table(traces, Trace))
        ledger.merge()
        counts = count_traces(traces, entries, invocation=self._invocation)
        self._meter.add(parts=1, traces=len(traces), correct=counts.verdicts["correct"])
        return counts


def read_kept(store: Store, name: str) -> list[Problem]:
    """The problems of a shard that no rule dropped."""
    return [problem for problem in from_table(store.read_table(name), Problem) if problem.drop is None]


def _row(part: Part) -> dict[str, str]:
    return {
        "problems": part.problems,
        "ledger": part.ledger,
        "traces": part.traces,
        "stop": "",
        "unfinished": "",
    }
