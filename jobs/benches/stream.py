"""Long streamed replies: events/s of one core against the openai package's async stream, and memory while they come.

Both sides read the canned server's bytes, where each event is an HTTP chunk of its own. A core's events are those of a
second of this process's CPU time, so the server and the other core don't count.
"""

import asyncio
import time
import tracemalloc

from jobs.benches.buying import QUESTION, calls_of, ours
from jobs.benches.canned import PIECE, canned
from jobs.benches.result import Result
from pipeline.endpoints import TeacherSettings

_REPLIES, _PEER_REPLIES, _EVENTS = 64, 8, 10_000


def stream() -> list[Result]:
    """Replies of ten thousand events each, 64 at once (8 for the peer, which is slow)."""
    with canned(events=_EVENTS) as base_url:
        settings = TeacherSettings(model="stand-in", base_url=base_url, in_flight=_REPLIES)
        calls = calls_of(_REPLIES)
        asyncio.run(ours(settings, calls[:1]))
        bought = asyncio.run(ours(settings, calls))
        assert bought.answers == _REPLIES, "replies were lost"
        rate = _REPLIES * _EVENTS / bought.cpu_seconds
        peer = _PEER_REPLIES * _EVENTS / asyncio.run(_openai_cpu_seconds(base_url))
        held = _peak_bytes(settings) / _REPLIES
    text = len(PIECE) * _EVENTS
    return [
        Result("stream", rate, peer, "openai AsyncOpenAI", "events/s of a core", rate / peer, goal=5.0),
        Result("stream_memory", held, text, "the text of a reply", "bytes a reply in flight", text / held, goal=0.2),
    ]


def _peak_bytes(settings: TeacherSettings) -> int:
    tracemalloc.start()
    try:
        asyncio.run(ours(settings, calls_of(_REPLIES)))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def _openai_cpu_seconds(base_url: str) -> float:
    from openai import AsyncOpenAI

    async def one(draw: int) -> None:
        chunks = await client.chat.completions.create(
            model="stand-in", messages=[{"role": "user", "content": QUESTION}], seed=draw, stream=True
        )
        text = [
            chunk.choices[0].delta.model_extra["reasoning_content"]
            async for chunk in chunks
            if chunk.choices and "reasoning_content" in (chunk.choices[0].delta.model_extra or {})
        ]
        assert len("".join(text)) == len(PIECE) * (_EVENTS - 1), "the openai package lost text"

    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        started = time.process_time()
        await asyncio.gather(*(one(draw) for draw in range(_PEER_REPLIES)))
        return time.process_time() - started
