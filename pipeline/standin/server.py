"""The stand-in's HTTP server: chat completions, streaming and not, with the troubles that the settings ask for.

`python -m pipeline.standin.server HOST PORT < settings.json` prints its address and serves until standard input ends,
so that it never outlives whoever started it.
"""

import asyncio
import errno
import random
import sys
import threading
import time

import orjson
from aiohttp import web

from pipeline.errors import Stop
from pipeline.standin import odd
from pipeline.standin.answers import Answers, Said
from pipeline.standin.asked import Asked, BadRequest, read
from pipeline.standin.batches import Batches
from pipeline.standin.counts import Counts
from pipeline.standin.latency import latency
from pipeline.standin.limits import Limits, retry_after
from pipeline.standin.settings import StandinSettings

_BODY_BYTES = 200 * 2**20
"""OpenAI's limit for a batch's file."""
_ERRORS = ("429", "500", "html_502")
_TAKEN_S = 5.0
"""How long a port may stay taken: a stand-in whose owner was killed takes a moment to notice."""


class Standin:
    """Answers requests; the same request and seed get the same answer, whatever trouble came before."""

    def __init__(self, settings: StandinSettings) -> None:
        self.settings = settings
        self.counts = Counts()
        self._answers = Answers(settings)
        self._limits = Limits(settings)
        self._batches = Batches(settings, self._answers, self.counts)
        self._troubles = settings.troubles
        self._requests = 0

    def app(self) -> web.Application:
        """The server's routes."""
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.stats)
        app.router.add_post("/stats/reset", self.reset)
        self._batches.add_routes(app)
        return app

    async def models(self, request: web.Request) -> web.Response:
        """The one model there is."""
        return web.json_response({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})

    async def stats(self, request: web.Request) -> web.Response:
        """What it has seen and billed; `Counts.told` names the figures."""
        return web.json_response(self.counts.told())

    async def reset(self, request: web.Request) -> web.Response:
        """Count anew from here."""
        self.counts.reset()
        return web.json_response({})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        self.counts.arrived()
        try:
            return await self._complete(request)
        finally:
            self.counts.left()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        settings = self.settings
        if settings.key is not None and request.headers.get("Authorization") != f"Bearer {settings.key}":
            return self._error(401, "invalid api key")
        if settings.max_in_flight is not None and self.counts.in_flight > settings.max_in_flight:
            return self._error(429, "too many requests are open")
        try:
            asked = read(await request.read())
        except BadRequest as error:
            return self._error(400, str(error))
        trouble = self._trouble()
        if trouble in _ERRORS:
            if settings.errors_after_latency:
                await self._wait(asked)
            return self._fail(trouble)
        return await self._answer(request, asked, trouble)

    def _trouble(self) -> str | None:
        # Troubles are drawn by request number: a retry meets its own luck.
        self._requests += 1
        drawn = random.Random(self._requests).random()
        for kind, share in self._troubles:
            if (drawn := drawn - share) < 0:
                return kind
        return None

    def _fail(self, kind: str | None) -> web.Response:
        if kind == "429":
            return self._error(429, "rate limit", {"Retry-After": f"{self.settings.retry_after_s:g}"})
        if kind == "500":
            return self._error(500, "internal error")
        self._count(502, kind)
        return web.Response(body=odd.HTML_502, status=502, headers=self._headers(), content_type="text/html")

    async def _answer(self, request: web.Request, asked: Asked, kind: str | None) -> web.StreamResponse:
        try:
            said = self._answers.say(asked)
        except BadRequest as error:
            await self._wait(asked)
            return self._error(400, str(error))
        wait = self._limits.admit(self._counted(asked, said), time.monotonic())
        if wait:
            return self._error(429, "rate limit", {"Retry-After": retry_after(wait)})
        await self._wait(asked)
        if asked.stream:
            return await self._stream(request, asked, said, kind)
        body, made = odd.body(asked, said, self.settings, kind)
        self._bill(asked, made)
        self._count(200, None if kind == "dropped" else kind)
        return web.Response(body=body, headers=self._headers(), content_type="application/json")

    async def _stream(self, request: web.Request, asked: Asked, said: Said, kind: str | None) -> web.StreamResponse:
        frames, made = odd.stream(asked, said, self.settings, kind)
        # Before a byte is sent: an API has made the answer by then, whether anyone is left to read it or not.
        self._bill(asked, made)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **self._headers()})
        try:
            await response.prepare(request)
            for frame in frames:
                await response.write(frame)
        except ConnectionResetError:
            self.counts.statuses["gone"] += 1
            return response
        if kind == "dropped":
            self.counts.statuses["dropped"] += 1
            if request.transport is not None:
                request.transport.close()
        else:
            self._count(200, kind)
        return response

    async def _wait(self, asked: Asked) -> None:
        await asyncio.sleep(latency(self.settings, asked.message, asked.seed))

    def _counted(self, asked: Asked, said: Said) -> int:
        by_request = self.settings.tokens_counted == "asked" and asked.max_tokens is not None
        return asked.prompt_tokens + (asked.max_tokens or 0 if by_request else said.completion_tokens)

    def _bill(self, asked: Asked, made: int) -> None:
        self.counts.bill(asked.digest, prompt_tokens=asked.prompt_tokens, completion_tokens=made)

    def _count(self, status: int, kind: str | None) -> None:
        self.counts.statuses[str(status)] += 1
        if kind is not None:
            self.counts.odd[kind] += 1

    def _headers(self) -> dict[str, str]:
        return self._limits.headers(time.monotonic()) if self.settings.rate_headers else {}

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self._count(status, None)
        return web.Response(
            body=orjson.dumps({"error": {"message": message}}),
            status=status,
            headers=self._headers() | (headers or {}),
            content_type="application/json",
        )


async def serve(settings: StandinSettings, *, host: str, port: int) -> None:
    """Serve until standard input ends; prints the address when it is ready."""
    # Requests that are still open are no reason to stay: nobody is left to pay for their answers.
    runner = web.AppRunner(Standin(settings).app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await _listen(runner, host, port)
    print(f"http://{host}:{runner.addresses[0][1]}/v1", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait_for_end, args=(loop, ended), daemon=True).start()
    await ended.wait()
    await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    until = time.monotonic() + _TAKEN_S
    while True:
        site = web.TCPSite(runner, host, port, backlog=4096, reuse_address=True)
        try:
            return await site.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
        await site.stop()
        await asyncio.sleep(0.05)


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


if __name__ == "__main__":
    main()
