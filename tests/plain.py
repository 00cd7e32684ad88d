"""Distilling without Ray, by plain functions in this process: what any run must come to, however it was broken off."""

import asyncio
from pathlib import Path

import pyarrow.parquet as pq

from jobs.recipe_file import load
from pipeline.generate import buy, calls_for
from pipeline.ledger import Ledger
from pipeline.record import Problem, from_table
from pipeline.store import Store
from pipeline.teacher import alone
from pipeline.trace import traces_of, verified
from pipeline.truncated import Truncated
from pipeline.verify import Verifier

CONTENT = ("id", "generation", "draw", "thought", "reply", "finish_reason", "verdict", "found", "drop")


def content(folder: Path) -> list[tuple[object, ...]]:
    """The traces of a run, one line each, without what differs from run to run (seconds, who bought)."""
    files = sorted((folder / "runs" / "made" / "traces").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(tuple(row[name] for name in CONTENT) for row in rows)


def without_ray(path: Path, folder: Path, base_url: str) -> list[tuple[object, ...]]:
    """The same from the problems that the run curated, asked of the teacher at `base_url` under a ledger of its own."""
    wanted = load(str(path))
    assert wanted.teacher is not None
    generation = wanted.distill.generations[0]
    store = Store(str(folder / "runs" / "made"))
    kept = [
        p
        for name in store.names("problems", ".parquet")
        for p in from_table(store.read_table(f"problems/{name}"), Problem)
    ]
    calls = {
        problem.id: calls_for(
            problem,
            generation,
            template=wanted.template(generation.prompt),
            identity=wanted.teacher.identity,
            seeded=True,
            seed=wanted.seed,
        )
        for problem in kept
    }
    ledger = Ledger(Store(str(folder / "plain")), "plain")

    async def ask() -> None:
        async with alone(wanted.teacher, base_url) as teacher:
            every = [call for those in calls.values() for call in those]
            slots = asyncio.Semaphore(8)
            left = await buy(
                every,
                engine=teacher,
                ledger=ledger,
                known={},
                truncated=Truncated(),
                slots=slots,
                invocation="plain",
                told=id,
            )
            assert not left

    asyncio.run(ask())
    entries = ledger.read()
    with Verifier(wanted.verify) as verifier:
        traces = verified(
            [t for p in kept for t in traces_of(p, calls[p.id], entries, Truncated()) if t is not None], verifier
        )
    return sorted(tuple(getattr(trace, name) for name in CONTENT) for trace in traces)
