"""One request to a chat-completions endpoint, and what can go wrong with it sorted once.

A request may be worth another try (429, 5xx, a broken connection or answer), be hopeless for this call (400, content
filter), or show that the endpoint can't be used at all (401, 402, 403, an unknown model).
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from pipeline.sse import Reply, read_stream, read_whole

_UNKNOWN_MODEL = re.compile(r"model[_ ]not[_ ](found|exist)|unknown model|no such model|does not exist", re.IGNORECASE)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_GATEWAY, _AT_WORK_S = (408, 502, 504, 522, 524), 2.0
_MOMENT = 1e9
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint with its key. `key_from` tells people where the key came from."""

    base_url: str
    model: str
    api_key: str | None = field(repr=False, default=None)
    key_from: str = ""

    def safe(self, said: str) -> str:
        """A text without the key (some endpoints repeat it, and errors are written down), cut short."""
        return (said.replace(self.api_key, "(the key)") if self.api_key else said)[:200]


@dataclass(frozen=True, slots=True)
class Room:
    """What an endpoint's headers say is left, and for how long nothing is."""

    requests: float | None = None
    tokens: float | None = None
    wait_s: float | None = None


class Again(Exception):
    """The same request may succeed later. `sent`: it had gone out when the connection broke, so an answer may have been
    made and billed, even one of which nothing came; `garbled`: it ended, and can't be read."""

    def __init__(
        self,
        said: str,
        *,
        limited: bool = False,
        unreachable: bool = False,
        sent: bool = False,
        garbled: bool = False,
        room: Room = Room(),
    ) -> None:
        super().__init__(said)
        self.limited = limited
        self.unreachable = unreachable
        self.sent = sent
        self.garbled = garbled
        self.room = room


class Refused(Exception):
    """This request will never succeed."""


class Unusable(Exception):
    """No request will succeed here."""


async def ask(
    session: aiohttp.ClientSession, place: Place, body: Mapping[str, Any], *, stream: bool
) -> tuple[Reply, Room]:
    """The reply of one request. Raises Again, Refused or Unusable; none of them holds the key."""
    began, asked = False, time.monotonic()
    try:
        async with session.post(
            f"{place.base_url}/chat/completions", data=orjson.dumps(body), headers=_headers(place)
        ) as response:
            if response.status != 200:
                raise await failure(response, place, took_s=time.monotonic() - asked)
            began = True
            reply = await (read_stream(response) if stream else read_whole(response))
            return reply, room(response.headers)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        said = getattr(error, "strerror", None) or error
        raise Again(place.safe(f"{type(error).__name__}: {said}"), unreachable=True) from None
    except ValueError as error:
        raise Again(place.safe(f"{type(error).__name__}: {error}"), sent=began, garbled=began) from None
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise Again(place.safe(f"{type(error).__name__}: {error}"), sent=True, unreachable=not began) from None


async def failure(response: aiohttp.ClientResponse, place: Place, *, took_s: float = 0.0) -> Exception:
    """What a status other than 200 means, after so many seconds."""
    said = place.safe(f"HTTP {response.status}: {_message(await response.read())}")
    status = response.status
    if status in (401, 403):
        fix = f"check the key in {place.key_from}" if place.key_from else "set teacher.api_key_env to its variable"
        return Unusable(f"the teacher at {place.base_url} refuses the key (HTTP {status}): {fix}")
    if status == 402:
        return Unusable(f"the teacher at {place.base_url} wants to be paid (HTTP 402): top up, then run it again")
    if status == 404 or (status == 400 and _UNKNOWN_MODEL.search(said) and "model" in said):
        return Unusable(f"the teacher at {place.base_url} knows no model {place.model!r} ({said})")
    left = room(response.headers)
    if status == 429:
        return Again(said, limited=True, room=left)
    if status >= 500 or status == 408:
        # A gateway that gave up on a model at work: the answer it did not wait for may be billed.
        return Again(said, room=left, sent=status in _GATEWAY and took_s > _AT_WORK_S)
    return Refused(said)


def room(headers: Mapping[str, str]) -> Room:
    """What the rate-limit headers (OpenAI's names) and Retry-After say."""
    wait = _retry_after(headers)
    if "x-ratelimit-remaining-requests" not in headers and "x-ratelimit-remaining-tokens" not in headers:
        return Room(wait_s=wait)
    requests, tokens = (_number(headers.get(f"x-ratelimit-remaining-{what}")) for what in ("requests", "tokens"))
    for what, left in (("requests", requests), ("tokens", tokens)):
        if left is not None and left <= 0:
            wait = max(wait or 0.0, _span(headers.get(f"x-ratelimit-reset-{what}", "")))
    return Room(requests, tokens, wait)


def _headers(place: Place) -> dict[str, str]:
    plain = {"Content-Type": "application/json"}
    return plain | {"Authorization": f"Bearer {place.api_key}"} if place.api_key else plain


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After")
    if value is None:
        return None
    if _number(value) is not None:
        return _span(value)
    try:
        date, now = (parsedate_to_datetime(text) for text in (value, headers["Date"]))
    except (ValueError, KeyError):
        return None
    # A date of no stated zone ("-0000") is UTC.
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _span(text: str) -> float:
    """Seconds of "1s", "6m0s", "20ms" or a plain number."""
    plain = _number(text)
    if plain is not None:
        # A very large number is a moment, not a span.
        return max(0.0, plain - time.time() if plain > _MOMENT else plain)
    return sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(text))


def _message(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = body.decode(errors="replace")
    return " ".join(str(said).split())
