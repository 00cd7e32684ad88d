"""Calls/s of the teacher's client against the openai package's, streaming off one local stand-in."""

import asyncio
import time

from cluster.standin import standin
from jobs.benches.result import Result
from pipeline.endpoints import TeacherSettings
from pipeline.ledger import Call, canonical
from pipeline.standin.settings import StandinSettings
from pipeline.teacher import alone

_CALLS, _IN_FLIGHT = 3000, 64
_QUESTION = 'How many times does the letter "a" appear in the text: "banana"?'


def teacher() -> Result:
    """Streamed chat completions a second through one process."""
    with standin(StandinSettings(), host="127.0.0.1") as base_url:
        ours = _CALLS / asyncio.run(_our_calls(base_url))
        peer = _CALLS / 4 / asyncio.run(_openai_calls(base_url, _CALLS // 4))
    return Result("teacher", ours, peer, "openai AsyncOpenAI", "streamed calls/s", ours / peer, goal=2.0)


async def _our_calls(base_url: str) -> float:
    settings = TeacherSettings(model="stand-in", base_url=base_url)
    messages, sampling = (
        canonical([{"role": "user", "content": _QUESTION}]),
        '{"temperature":1,"top_p":1,"max_tokens":99}',
    )
    slots = asyncio.Semaphore(_IN_FLIGHT)
    async with alone(settings) as client:

        async def one(draw: int) -> None:
            async with slots:
                call = Call(str(draw), "p", "bench", client.identity, draw, draw, messages, sampling)
                assert (await client.answer(call)).thought

        started = time.perf_counter()
        await asyncio.gather(*(one(draw) for draw in range(_CALLS)))
        return time.perf_counter() - started


async def _openai_calls(base_url: str, calls: int) -> float:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="none")
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(draw: int) -> None:
        async with slots:
            answer = await client.chat.completions.create(
                model="stand-in",
                messages=[{"role": "user", "content": _QUESTION}],
                seed=draw,
                stream=True,
                stream_options={"include_usage": True},
            )
            assert [chunk async for chunk in answer]

    started = time.perf_counter()
    await asyncio.gather(*(one(draw) for draw in range(calls)))
    return time.perf_counter() - started
