"""The batch API, in OpenAI's form: the plain endpoint's answers, later and in files."""

import asyncio
import math
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from pipeline.standin.answers import Answers
from pipeline.standin.asked import BadRequest, read
from pipeline.standin.counts import Counts
from pipeline.standin.files import Files, refuse
from pipeline.standin.replies import whole
from pipeline.standin.settings import StandinSettings

ENDPOINT = "/v1/chat/completions"
MOST_LINES = 50_000
"""OpenAI's limit for the requests of a batch."""
_WINDOW_S = 24 * 3600
_STEPS = 20
_SLICE = 100
_OPEN = ("validating", "in_progress", "finalizing")
_Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Batch:
    """One batch: what was asked, how far it is, and the files that it has made."""

    number: int
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None
    id: str = field(default_factory=lambda: f"batch_{secrets.token_hex(12)}")
    status: str = "validating"
    created_at: int = field(default_factory=lambda: int(time.time()))
    entered: dict[str, int] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def done(self) -> int:
        """Lines that were answered or failed."""
        return len(self.answered) + len(self.failed)

    def enter(self, status: str) -> None:
        """Go on to a status, and note the second."""
        self.status = status
        self.entered[status] = int(time.time())

    def told(self) -> dict[str, Any]:
        """The API's description of it."""
        times = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.created_at + _WINDOW_S,
            **{f"{status}_at": self.entered.get(status) for status in times},
            "request_counts": {
                "total": len(self.lines),
                "completed": len(self.answered),
                "failed": len(self.failed),
            },
            "metadata": self.metadata,
        }


class Batches:
    """Makes batches and works them off, each in a task of its own."""

    def __init__(self, settings: StandinSettings, answers: Answers, counts: Counts) -> None:
        self._settings = settings
        self._answers = answers
        self._counts = counts
        self._files = Files()
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, app: web.Application) -> None:
        """The routes of files and batches, behind the key."""
        app.router.add_post("/v1/files", self._keyed(self._files.upload))
        app.router.add_get("/v1/files/{id}", self._keyed(self._files.describe))
        app.router.add_get("/v1/files/{id}/content", self._keyed(self._files.content))
        app.router.add_post("/v1/batches", self._keyed(self.make))
        app.router.add_get("/v1/batches", self._keyed(self.page))
        app.router.add_get("/v1/batches/{id}", self._keyed(self.describe))
        app.router.add_post("/v1/batches/{id}/cancel", self._keyed(self.cancel))

    async def make(self, request: web.Request) -> web.Response:
        """POST /v1/batches: start one over an uploaded file."""
        try:
            asked = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return refuse(400, f"this is not JSON: {error}")
        if not isinstance(asked, dict) or self._files.find(asked.get("input_file_id")) is None:
            return refuse(400, "input_file_id names no uploaded file")
        if asked.get("endpoint") != ENDPOINT or asked.get("completion_window") != "24h":
            return refuse(400, f"the stand-in teacher takes endpoint {ENDPOINT} and completion_window 24h")
        batch = Batch(len(self._batches) + 1, asked["input_file_id"], "24h", asked.get("metadata"))
        self._batches[batch.id] = batch
        self._counts.batches += 1
        task = asyncio.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(batch.told())

    async def page(self, request: web.Request) -> web.Response:
        """GET /v1/batches?limit=20&after=ID: the newest first."""
        ids = list(reversed(self._batches))
        limit, after = request.query.get("limit", "20"), request.query.get("after")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            return refuse(400, f"limit is {limit}; it must be from 1 to 100")
        if after is not None and after not in self._batches:
            return refuse(400, "after names no batch")
        start = 0 if after is None else ids.index(after) + 1
        taken = ids[start : start + int(limit)]
        ends = {"first_id": taken[0] if taken else None, "last_id": taken[-1] if taken else None}
        data = [self._batches[each].told() for each in taken]
        return web.json_response({"object": "list", "data": data, **ends, "has_more": start + len(taken) < len(ids)})

    async def describe(self, request: web.Request) -> web.Response:
        """GET /v1/batches/{id}."""
        batch = self._batches.get(request.match_info["id"])
        return refuse(404, "no such batch") if batch is None else web.json_response(batch.told())

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /v1/batches/{id}/cancel: it ends soon, with what is done by then."""
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return refuse(404, "no such batch")
        if batch.status not in (*_OPEN, "cancelling"):
            return refuse(409, f"the batch is {batch.status} and can't be cancelled")
        if batch.status != "cancelling":
            batch.enter("cancelling")
        return web.json_response(batch.told())

    def _keyed(self, handler: _Handler) -> _Handler:
        async def checked(request: web.Request) -> web.Response:
            key = self._settings.key
            if key is not None and request.headers.get("Authorization") != f"Bearer {key}":
                return refuse(401, "invalid api key")
            return await handler(request)

        return checked

    async def _run(self, batch: Batch) -> None:
        """A tenth of the time goes into reading the file, a tenth into writing the others, the rest into the work."""
        tenth = self._settings.batch_s / 10
        await asyncio.sleep(tenth)
        file = self._files.find(batch.input_file_id)
        assert file is not None
        lines, batch.errors = parse(file.content)
        if batch.errors:
            return batch.enter("failed")
        batch.lines = lines
        expires = random.Random(f"expires:{batch.number}").random() < self._settings.share_batch_expired
        if batch.status == "validating":
            batch.enter("in_progress")
            stop = math.ceil(len(lines) * self._settings.batch_expired_done) if expires else len(lines)
            await self._work(batch, stop, 8 * tenth)
        if batch.status == "in_progress":
            batch.enter("finalizing")
        await asyncio.sleep(tenth)
        self._finish(batch, expires)
        return None

    async def _work(self, batch: Batch, stop: int, seconds: float) -> None:
        """Do the first `stop` lines, evenly over so many seconds, until the batch is cancelled."""
        started = time.monotonic()
        share = 0.0
        while share < 1 and batch.status == "in_progress":
            share = min(1.0, (time.monotonic() - started) / seconds) if seconds else 1.0
            due = int(stop * share)
            while batch.done < due and batch.status == "in_progress":
                for number in range(batch.done, min(due, batch.done + _SLICE)):
                    self._do(batch, number)
                # Others want to be served between the slices.
                await asyncio.sleep(0)
            await asyncio.sleep(seconds / _STEPS if share < 1 else 0)

    def _do(self, batch: Batch, number: int) -> None:
        line = batch.lines[number]
        if random.Random(f"{batch.number}:{number}").random() < self._settings.share_batch_errors:
            status, body = 500, {"error": {"message": "internal error"}}
        else:
            status, body = self._answer(line["body"])
        response = {"status_code": status, "request_id": f"req_{batch.number}_{number}", "body": body}
        told = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": response, "error": None}
        (batch.answered if status == 200 else batch.failed).append(told)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            asked = read(body)
            said = self._answers.say(asked)
        except BadRequest as error:
            return 400, {"error": {"message": str(error)}}
        made = said.completion_tokens
        self._counts.bill(asked.digest, prompt_tokens=asked.prompt_tokens, completion_tokens=made)
        return 200, whole(asked, said, self._settings)

    def _finish(self, batch: Batch, expires: bool) -> None:
        """Write the files, and end as completed, expired or cancelled."""
        failed = list(batch.failed)
        status = "cancelled" if batch.status == "cancelling" else "expired" if expires else "completed"
        if status == "expired":
            failed += [_expired(number, line) for number, line in list(enumerate(batch.lines))[batch.done :]]
        batch.output_file_id = self._written(batch, "output", batch.answered)
        batch.error_file_id = self._written(batch, "error", failed)
        batch.enter(status)

    def _written(self, batch: Batch, name: str, lines: list[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        # The API promises no order, so there must be none to rely on.
        mixed = random.Random(batch.number).sample(lines, len(lines))
        content = b"".join(orjson.dumps(line) + b"\n" for line in mixed)
        return self._files.add(f"{batch.id}_{name}.jsonl", "batch_output", content).id


def parse(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of a batch's file, and what is wrong with it, each with its line number from 1."""
    lines: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, text in enumerate(content.splitlines(), start=1):
        if not text.strip():
            continue
        wrong = _check(text, seen)
        if isinstance(wrong, dict):
            lines.append(wrong)
        else:
            errors.append({"code": wrong[0], "message": wrong[1], "param": None, "line": number})
    if not lines and not errors:
        errors.append({"code": "empty_file", "message": "the file has no requests", "param": None, "line": None})
    if len(lines) > MOST_LINES:
        said = f"the file has {len(lines)} requests; a batch takes {MOST_LINES}"
        errors.append({"code": "too_many_requests", "message": said, "param": None, "line": None})
    return lines, errors


def _check(text: bytes, seen: set[str]) -> dict[str, Any] | tuple[str, str]:
    """The request of a line, or the code and text of what is wrong with it."""
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "invalid_json_line", "this line is no JSON"
    if (
        not isinstance(line, dict)
        or not isinstance(line.get("custom_id"), str)
        or not isinstance(line.get("body"), dict)
    ):
        return "missing_required_parameter", "a line needs custom_id (a text) and body (an object)"
    if line.get("method") != "POST" or line.get("url") != ENDPOINT:
        return "invalid_url", f"a line needs method POST and url {ENDPOINT}"
    if line["custom_id"] in seen:
        return "duplicate_custom_id", f"custom_id {line['custom_id']} is there twice"
    seen.add(line["custom_id"])
    return line


def _expired(number: int, line: dict[str, Any]) -> dict[str, Any]:
    message = "This request could not be executed before the completion window expired."
    error = {"code": "batch_expired", "message": message}
    return {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": None, "error": error}
