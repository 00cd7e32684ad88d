"""Generate and verify as one Ray Data stream of shards: the only way that traces are made, for training and for scores.

    parts -> Generate (an actor pool for each generation) -> Judge (where an LLM judges) -> Collect (verify, write)
          -> counts

What flows is the name of a part, never its rows: answers go to the ledger the moment they are bought, and Collect
makes a part's traces from its problems and its ledger alone. So the same traces come out on any cluster, an actor that
is lost redoes only calls that were in flight, and the driver holds one line of counts a part.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from pydantic import Field

from cluster.asks import Ask, Judging, Part, TeacherAt
from cluster.collect import Collect
from cluster.engine import actor_options
from cluster.generate import Generate, slots_of
from cluster.judge import Judge
from cluster.limits import keeper_of
from cluster.placement import groups_freed
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.verify import VerifySettings

_LOOKED_AT = 8
_SHARDS_AT_ONCE = (2, 64)
_FULL = 1.5


class StreamSettings(Settings):
    """What the actors of generate and verify take of the cluster."""

    caller_cpus: float = Field(default=0.5, gt=0)
    """Logical CPUs of one actor that calls the teacher."""
    verifier_cpus: float = Field(default=0.5, gt=0)
    """Logical CPUs of one verifying actor."""
    verifiers: int = Field(default=1, gt=0)
    """The most verifying actors."""


def stream(
    parts: Sequence[Part],
    asks: Sequence[Ask],
    *,
    judging: Judging | None = None,
    name: str,
    store: Store,
    settings: StreamSettings,
    verify: VerifySettings,
    invocation: str,
    board: Any,
) -> Iterator[TraceCounts]:
    """Make and verify the traces of all parts, and yield each part's counts as it comes, finished or not.

    Raises Stop at the end when the run could not go on or calls stayed unfinished; what was in flight is on storage
    then.
    """
    rows = ray.data.from_items([_row(part) for part in parts], override_num_blocks=len(parts))
    problems = _problems_each(parts, store)
    every = [each for ask in asks for each in ask.every]
    callers = [*asks, judging.ask] if judging is not None else asks
    with _keeper(callers, store, board, name=name) as keeper, groups_freed():
        for ask in asks:
            made = (store, ask, invocation, board, keeper)
            draws = sum(each.generation.draws for each in ask.every)
            rows = _generate(rows, Generate, ask, made, settings=settings, calls=problems * draws)
        if judging is not None:
            judges = (store, judging, every, verify, invocation, board, keeper)
            draws = judging.ask.generation.draws * sum(ask.generation.draws for ask in every)
            rows = _generate(rows, Judge, judging.ask, judges, settings=settings, calls=problems * draws)
        rows = rows.map_batches(
            Collect,
            fn_constructor_args=(store, every, judging, verify, invocation, board),
            batch_size=1,
            num_cpus=settings.verifier_cpus,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=settings.verifiers),
        )
        rows.set_name(name)
        stops, unfinished = [], []
        for row in rows.iter_rows():
            if row["stop"]:
                stops.append(row["stop"])
            elif row["unfinished"]:
                unfinished.append(row["unfinished"])
            yield row["counts"]
    if stops:
        raise Stop(stops[0])
    if unfinished:
        raise Stop(f"{len(unfinished)} shards have unanswered calls ({unfinished[0]}): run the same command again")


@contextlib.contextmanager
def _keeper(asks: Sequence[Ask], store: Store, board: Any, *, name: str) -> Iterator[Any]:
    """The keeper of the teachers' limits for the length of the block, or None when nobody asks a teacher."""
    teachers = {ask.engine.name: ask.engine for ask in asks if isinstance(ask.engine, TeacherAt)}
    if not teachers:
        yield None
        return
    keeper = keeper_of(list(teachers.values()), store, board, name=f"{name}-limits")
    try:
        yield keeper
        ray.get(keeper.settle.remote())
    finally:
        ray.kill(keeper)


def _generate(
    rows: Any, stage: type[Generate], ask: Ask, made: tuple[Any, ...], *, settings: StreamSettings, calls: float
) -> Any:
    engine = ask.engine
    options = {"num_cpus": settings.caller_cpus} if isinstance(engine, TeacherAt) else actor_options(engine.settings)
    at_once = _shards_at_once(calls, slots_of(engine))
    return rows.map_batches(
        stage,
        fn_constructor_args=made,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=engine.settings.actors,
            max_concurrent_calls_per_actor=at_once,
            # No more than it works on: a shard that waits in one actor's queue idles another.
            max_tasks_in_flight_per_actor=at_once,
        ),
        **options,
    )


def _shards_at_once(calls: float, in_flight: int) -> int:
    """Shards that fill an actor's slots one and a half times over, so that the tail of one never idles it."""
    low, high = _SHARDS_AT_ONCE
    return max(low, min(high, 1 + math.ceil(_FULL * in_flight / max(1.0, calls))))


def _problems_each(parts: Sequence[Part], store: Store) -> float:
    """Problems in a part, from the footers of some."""
    some = parts[:: max(1, len(parts) // _LOOKED_AT)]
    return sum(store.rows(part.problems) for part in some) / max(1, len(some))


def _row(part: Part) -> dict[str, str]:
    return {
        "problems": part.problems,
        "ledger": part.ledger,
        "traces": part.traces,
        "stop": "",
        "unfinished": "",
    }
