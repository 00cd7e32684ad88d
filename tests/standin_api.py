"""The stand-in teacher on a real socket, and a plain client that keeps every byte."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pipeline.standin.server import Standin
from pipeline.standin.settings import StandinSettings

BACKWARD = "Reverse this list of words: sun, moon, star"


@dataclass(frozen=True)
class Got:
    """One reply, as it came."""

    status: int
    headers: Any
    body: bytes
    whole: bool
    """False when the connection broke before the end."""

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> Any:
        return self.value["choices"][0]["message"]

    @property
    def finish_reason(self) -> Any:
        return self.value["choices"][0]["finish_reason"]

    @property
    def usage(self) -> Any:
        return self.value["usage"]

    @property
    def events(self) -> list[Any]:
        """The JSON events of a stream, without [DONE]."""
        lines = [line for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line[6:]) for line in lines if line != b"data: [DONE]"]

    def streamed(self, name: str) -> str:
        """A field's text, joined from the events."""
        deltas = [choice["delta"] for event in self.events for choice in event.get("choices", [])]
        return "".join(delta.get(name, "") for delta in deltas)


@dataclass
class Api:
    """A plain client of one stand-in."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, question: str = BACKWARD, *, said: str | None = None, seed: int = 0, **body: Any) -> Got:
        """A chat completion; `said` is an assistant's message after the question."""
        messages = [{"role": "user", "content": question}]
        if said is not None:
            messages.append({"role": "assistant", "content": said})
        return await self.send({"model": "m", "messages": messages, "seed": seed, **body})

    async def send(self, body: Any) -> Got:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(f"{self.url}/v1/chat/completions", data=data) as reply:
            parts, whole = [], True
            try:
                async for part in reply.content.iter_any():
                    parts.append(part)
            except aiohttp.ClientPayloadError:
                whole = False
            return Got(reply.status, reply.headers, b"".join(parts), whole)

    async def several(self, count: int, **body: Any) -> list[Got]:
        """So many at once, with seeds from 0."""
        return list(await asyncio.gather(*(self.ask(seed=seed, **body) for seed in range(count))))

    async def get(self, path: str) -> Got:
        async with self.session.get(self.url + path) as reply:
            return Got(reply.status, reply.headers, await reply.read(), True)

    async def post(self, path: str, value: Any = None) -> Got:
        async with self.session.post(self.url + path, json=value) as reply:
            return Got(reply.status, reply.headers, await reply.read(), True)

    async def stats(self) -> Any:
        return (await self.get("/stats")).value


@contextlib.asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Api]:
    """A stand-in with these settings, and its client."""
    runner = web.AppRunner(Standin(StandinSettings(**settings)).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Api(f"http://127.0.0.1:{port}", session)
    await runner.cleanup()


def talk(work: Callable[[Api], Awaitable[Any]], **settings: Any) -> Any:
    """What `work` makes of a stand-in with these settings."""

    async def run() -> Any:
        async with served(**settings) as api:
            return await work(api)

    return asyncio.run(run())


def recorded(folder: Path, **answers: str) -> dict[str, Any]:
    """Settings that replay one recorded answer for each question."""
    path = folder / "recorded.jsonl"
    path.write_text("\n".join(json.dumps({"question": name, "a": text}) for name, text in answers.items()))
    return {"answers": "replay", "path": str(path), "replies": ("a",)}
