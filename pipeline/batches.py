"""The provider's batch API (OpenAI's /v1/files and /v1/batches): upload, send, look, fetch."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from pipeline.chat import Again, Place, Refused, Unusable, failure
from pipeline.errors import Stop

MARK = "longthought"
_ENDPOINT = "/v1/chat/completions"
_LINE = {"method": "POST", "url": _ENDPOINT}
_TRIES, _BACKOFF_S = 8, 60.0


@dataclass(frozen=True, slots=True)
class State:
    """How far a batch is. `over`: it will not go on; `why`: what the provider says went wrong with all of it."""

    over: bool
    files: tuple[str, ...] = ()
    why: str = ""


class Unsent(Stop):
    """A batch that was surely not made: nothing of it is billed."""


@dataclass
class BatchApi:
    """The calls of the batch API at one place; each is tried again through 429s, 5xx and broken connections."""

    session: aiohttp.ClientSession
    place: Place

    async def send(self, bodies: Mapping[str, Mapping[str, Any]], *, mark: str, window: str) -> str:
        """Send the requests by their ids as one batch that carries a mark; returns the batch's id."""
        lines = ({"custom_id": name, **_LINE, "body": body} for name, body in bodies.items())
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)

        def form() -> dict[str, Any]:
            # A form is used up by sending it: each try needs its own.
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", content, filename=f"{mark}.jsonl", content_type="application/jsonl")
            return {"data": data}

        try:
            file = _id(await self._ask("POST", "files", form))
        except Stop as stop:
            raise Unsent(str(stop)) from stop
        order = {
            "input_file_id": file,
            "endpoint": _ENDPOINT,
            "completion_window": window,
            "metadata": {MARK: mark},
        }
        return await self._order(order, mark)

    async def _order(self, order: dict[str, Any], mark: str) -> str:
        """Make the batch. After a try that may have arrived it is looked for, and never ordered blindly again."""
        tried = 0
        while True:
            tried += 1
            try:
                return _id(await self._once("POST", "batches", {"json": order}))
            except (Refused, Unusable) as refused:
                raise Unsent(f"the batch API at {self.place.base_url} refuses POST batches: {refused}") from None
            except Again as again:
                if tried >= _TRIES:
                    raise self._gives_up(again) from None
                await asyncio.sleep(_wait(again, tried))
                found = await self.find(mark)
                if found is not None:
                    return found

    async def find(self, mark: str) -> str | None:
        """The id of the batch that carries a mark; None when none was ever sent."""
        after: dict[str, str] = {}
        while True:
            params = {"limit": "100", **after}
            page = orjson.loads(await self._ask("GET", "batches", lambda params=params: {"params": params}))
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get(MARK) == mark:
                    return str(batch["id"])
            if not page.get("has_more"):
                return None
            after = {"after": page["data"][-1]["id"]}

    async def state(self, batch: str) -> State:
        """How far a batch is."""
        told = orjson.loads(await self._ask("GET", f"batches/{batch}"))
        files = tuple(told[name] for name in ("output_file_id", "error_file_id") if told.get(name))
        errors = (told.get("errors") or {}).get("data") or []
        why = "; ".join(str(error.get("message")) for error in errors) or told["status"]
        if told["status"] == "failed":
            return State(over=True, why=self.place.safe(why))
        return State(over=told["status"] in ("completed", "expired", "cancelled"), files=files)

    async def lines(self, files: Iterable[str]) -> list[dict[str, Any]]:
        """The result lines of a batch's files; what can't be read is left out, and its calls have no result."""
        contents = [await self._ask("GET", f"files/{file}/content") for file in files]
        found = (_line(line) for content in contents for line in content.splitlines() if line.strip())
        return [line for line in found if line is not None]

    async def _ask(self, method: str, path: str, made: Any = dict) -> bytes:
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(method, path, made())
            except Refused as refused:
                raise Stop(f"the batch API at {self.place.base_url} refuses {method} {path}: {refused}") from None
            except Unusable as unusable:
                raise Stop(str(unusable)) from None
            except Again as again:
                if tried >= _TRIES:
                    raise self._gives_up(again) from None
                await asyncio.sleep(_wait(again, tried))

    def _gives_up(self, again: Again) -> Stop:
        return Stop(f"the batch API at {self.place.base_url} does not answer ({again}): run the same command again")

    async def _once(self, method: str, path: str, made: dict[str, Any]) -> bytes:
        headers = {"Authorization": f"Bearer {self.place.api_key}"} if self.place.api_key else {}
        try:
            async with self.session.request(
                method, f"{self.place.base_url}/{path}", headers=headers, **made
            ) as response:
                if response.status != 200:
                    raise await failure(response, self.place)
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Again(self.place.safe(f"{type(error).__name__}: {error}")) from None


def _id(reply: bytes) -> str:
    """The id of what was made. Raises Again for a reply without one, such as a proxy's page."""
    try:
        return str(orjson.loads(reply)["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise Again(f"the reply has no id: {reply[:100]!r}") from error


def _line(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("custom_id"), str) else None


def _wait(again: Again, tried: int) -> float:
    said = again.room.wait_s
    return random.uniform(0.5, 1) * min(_BACKOFF_S, 2.0**tried) if said is None else said
