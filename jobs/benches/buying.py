"""The two sides of the benchmarks of HTTP calls: ours, ledger and limits on, and a bare aiohttp loop."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import orjson

from pipeline.endpoints import TeacherSettings
from pipeline.generate import buy
from pipeline.ledger import Call, Entry, Ledger, call_key, canonical
from pipeline.record import to_table
from pipeline.store import Store
from pipeline.teacher import Teacher, alone
from pipeline.truncated import Truncated

QUESTION = 'How many times does the letter "a" appear in the text: "banana"?'
_SAMPLING = '{"temperature":0.6,"top_p":0.95,"max_tokens":999}'
_ERROR_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Bought:
    """What a run of calls came to: seconds by the wall and of this process's CPUs, answers, and requests sent."""

    seconds: float
    cpu_seconds: float
    answers: int
    requests: int


def calls_of(count: int, *, identity: str = "stand-in @ bench") -> list[Call]:
    """So many draws of one problem."""
    messages = canonical([{"role": "user", "content": QUESTION}])
    return [
        Call(
            call_key(engine=identity, messages=messages, sampling=_SAMPLING, seed=draw, draw=draw),
            problem_id="p",
            generation="bench",
            engine=identity,
            draw=draw,
            seed=draw,
            messages=messages,
            sampling=_SAMPLING,
        )
        for draw in range(count)
    ]


def warm_up() -> None:
    """Write one answer: the first table of a process imports pandas, which an actor has done long before."""
    with tempfile.TemporaryDirectory() as folder:
        Store(folder).write_table("warm.parquet", to_table([], Entry))


async def ours(settings: TeacherSettings, calls: Sequence[Call]) -> Bought:
    """Buy the calls as an actor does: through leases, each answer on storage before it counts."""
    async with alone(settings) as teacher:
        return await bought(teacher, calls)


async def bought(teacher: Teacher, calls: Sequence[Call]) -> Bought:
    """Buy the calls of an open teacher into a ledger that is thrown away."""
    entries: list[Entry] = []
    with tempfile.TemporaryDirectory() as folder:
        started, cpu_started = time.perf_counter(), time.process_time()
        await buy(
            calls,
            engine=teacher,
            ledger=Ledger(Store(folder), "bench"),
            known={},
            truncated=Truncated(),
            slots=asyncio.Semaphore(teacher.settings.in_flight),
            invocation="bench",
            told=entries.append,
        )
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    answers = sum(entry.outcome == "answered" for entry in entries)
    return Bought(seconds, cpu_seconds, answers, sum(entry.attempts for entry in entries))


async def bare(base_url: str, calls: int, *, in_flight: int) -> Bought:
    """A loop that posts and parses, and nothing else; an error is asked again after Retry-After or half a second."""
    requests = 0
    left = iter(range(calls))

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal requests
        for draw in left:
            body = orjson.dumps({"messages": [{"role": "user", "content": QUESTION}], "seed": draw})
            while True:
                requests += 1
                async with session.post(f"{base_url}/chat/completions", data=body) as response:
                    told = orjson.loads(await response.read())
                    if response.status == 200:
                        assert told["choices"]
                        break
                await asyncio.sleep(float(response.headers.get("Retry-After", _ERROR_WAIT_S)))

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        started, cpu_started = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(session) for _ in range(in_flight)))
        return Bought(time.perf_counter() - started, time.process_time() - cpu_started, calls, requests)
