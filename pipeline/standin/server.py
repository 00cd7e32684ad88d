"""The stand-in's HTTP server: chat completions, streaming and not, with the troubles that the settings ask for.

`python -m pipeline.standin.server HOST PORT < settings.json` prints its address and serves until standard input ends,
so that it never outlives whoever started it.
"""

import asyncio
import random
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from pipeline.errors import Stop
from pipeline.standin.replay import Recorded
from pipeline.standin.settings import StandinSettings
from pipeline.standin.worked import work


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of the stand-in."""

    reasoning: str
    content: str
    finish_reason: str


class Standin:
    """Answers requests; the same request and seed get the same answer, whatever trouble came before."""

    def __init__(self, settings: StandinSettings) -> None:
        self.settings = settings
        self._recorded = Recorded(settings) if settings.answers == "replay" else None
        self._requests = 0
        self._in_flight = 0
        self._statuses: Counter[str] = Counter()

    def app(self) -> web.Application:
        """The server's routes."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.stats)
        return app

    async def models(self, request: web.Request) -> web.Response:
        """The one model there is."""
        return _json({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})

    async def stats(self, request: web.Request) -> web.Response:
        """Requests by how they ended, and how many are open now."""
        return _json({"requests": dict(self._statuses), "in_flight": self._in_flight})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        self._in_flight += 1
        try:
            return await self._complete(request)
        finally:
            self._in_flight -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        settings = self.settings
        if settings.key is not None and request.headers.get("Authorization") != f"Bearer {settings.key}":
            return self._error(401, "invalid api key")
        body = orjson.loads(await request.read())
        self._requests += 1
        # Troubles are drawn by request number: a retry meets its own luck.
        trouble = random.Random(self._requests).random()
        if (trouble := trouble - settings.share_429) < 0:
            return self._error(429, "rate limit", {"Retry-After": f"{settings.retry_after_s:g}"})
        if (trouble := trouble - settings.share_500) < 0:
            return self._error(500, "internal error")
        await asyncio.sleep(settings.latency_s)
        said = self._say(body)
        if said is None:
            return self._error(400, "the stand-in teacher knows no answer to this problem")
        if body.get("stream"):
            return await self._stream(request, body, said, dropped=trouble < settings.share_dropped)
        self._statuses["200"] += 1
        return _json(_whole(body, said))

    def _say(self, body: dict[str, Any]) -> Said | None:
        message = body["messages"][-1]["content"]
        seed = int(body.get("seed") or 0)
        rng = random.Random(f"{seed}:{message}")
        if self._recorded is not None:
            content = self._recorded.find(message, seed=seed)
            return None if content is None else _cut(Said("", content, "stop"), rng, self.settings)
        worked = work(message, rng, rng.random() < self.settings.wrong)
        return None if worked is None else _cut(Said(worked.thought, worked.reply, "stop"), rng, self.settings)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], said: Said, *, dropped: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(_events(body, said, self.settings.chunk_chars)):
            if dropped and number == 1:
                self._statuses["dropped"] += 1
                if request.transport is not None:
                    request.transport.close()
                return response
            await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        self._statuses["200"] += 1
        return response

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self._statuses[str(status)] += 1
        return _json({"error": {"message": message}}, status=status, headers=headers)


async def serve(settings: StandinSettings, *, host: str, port: int) -> None:
    """Serve until standard input ends; prints the address when it is ready."""
    runner = web.AppRunner(Standin(settings).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=4096)
    await site.start()
    bound = runner.addresses[0]
    print(f"http://{host}:{bound[1]}/v1", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait_for_end, args=(loop, ended), daemon=True).start()
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """Read the settings off the first line of standard input, and serve."""
    settings = StandinSettings.model_validate_json(sys.stdin.buffer.readline())
    try:
        asyncio.run(serve(settings, host=sys.argv[1], port=int(sys.argv[2])))
    except (Stop, OSError) as error:
        sys.exit(f"the stand-in teacher can't start: {error}")


def _wait_for_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(ended.set)


def _cut(said: Said, rng: random.Random, settings: StandinSettings) -> Said:
    if rng.random() >= settings.share_truncated:
        return said
    if said.reasoning:
        return Said(said.reasoning[: len(said.reasoning) // 2], "", "length")
    return Said("", said.content[: len(said.content) // 2], "length")


def _events(body: dict[str, Any], said: Said, size: int) -> list[dict[str, Any]]:
    texts = [("reasoning_content", said.reasoning), ("content", said.content)]
    deltas = [{name: text[at : at + size]} for name, text in texts for at in range(0, len(text), size)]
    events = [_chunk(body, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    events.append(_chunk(body, [{"index": 0, "delta": {}, "finish_reason": said.finish_reason}]))
    return [*events, _chunk(body, []) | {"usage": _usage(body, said)}]


def _chunk(body: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "model": body.get("model"), "choices": choices}


def _whole(body: dict[str, Any], said: Said) -> dict[str, Any]:
    message = {"role": "assistant", "content": said.content, "reasoning_content": said.reasoning or None}
    choice = {"index": 0, "message": message, "finish_reason": said.finish_reason}
    return {"object": "chat.completion", "model": body.get("model"), "choices": [choice], "usage": _usage(body, said)}


def _usage(body: dict[str, Any], said: Said) -> dict[str, Any]:
    # A stand-in has no tokenizer: four characters a token is what its bill says.
    prompt, thought, reply = (
        -(-len(text) // 4) for text in (str(body["messages"][-1]["content"]), said.reasoning, said.content)
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": thought + reply,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, headers=headers, content_type="application/json")


if __name__ == "__main__":
    main()
