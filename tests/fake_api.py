"""A fake endpoint on a real socket: answers request number n with the n-th of the responses that it was given."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeApi:
    """Serves while in `async with`; the last response is repeated. `seen` and `at_s` tell what came and when."""

    responses: list[Respond]
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    base_url: str = ""

    async def __aenter__(self) -> "FakeApi":
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        number = len(self.seen)
        self.at_s.append(time.monotonic())
        self.headers.append(dict(request.headers))
        self.seen.append(await request.json())
        return await self.responses[min(number, len(self.responses) - 1)](request)


def whole(content: str = "\\boxed{2}", **more: Any) -> Respond:
    """A chat completion in one body; `message`, `finish_reason` and `usage` replace its parts."""
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}
    return body({"object": "chat.completion", "choices": [choice], "usage": USAGE} | more)


def stream(*deltas: dict[str, Any], finish_reason: str = "stop", usage: dict[str, Any] | None = None) -> Respond:
    """Server-sent events: the deltas, the end, the usage, [DONE]."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    events = [{"choices": [choice]} for choice in choices] + [{"choices": [], "usage": usage or USAGE}]
    return raw(*(f"data: {json.dumps(event)}\n\n".encode() for event in events), b"data: [DONE]\n\n")


def raw(*chunks: bytes, broken: bool = False) -> Respond:
    """A 200 that sends these bytes one after another, and cuts the connection when `broken`."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if broken:
            assert request.transport is not None
            request.transport.close()
        return response

    return respond


def body(value: Any, *, status: int = 200, **headers: str) -> Respond:
    """A JSON body."""

    async def respond(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.json_response(value, status=status, headers=named)

    return respond


def error(status: int, message: str = "no", **headers: str) -> Respond:
    """What OpenAI-compatible servers say when they refuse."""
    return body({"error": {"message": message, "type": "made", "code": None}}, status=status, **headers)


USAGE = {"prompt_tokens": 10, "completion_tokens": 30}
