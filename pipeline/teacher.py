"""The teacher: a client of the OpenAI chat-completions API, as nearly every provider and local server offers it.

Streams by default, with an idle timeout instead of a total one, so that an hour-long thought survives. What comes back
wrong is sorted once, here: try again (429, 5xx, broken connections), give this call up with a reason (400, content
filter), or stop the run (401, 403, 404).
"""

import asyncio
import random
import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import aiohttp
import orjson
from pydantic import Field, model_validator

from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.ledger import Call, canonical
from pipeline.prompts import split
from pipeline.settings import Settings
from pipeline.sse import Reply, read_stream, read_whole
from pipeline.standin.settings import StandinSettings

_BACKOFF_S = (1.0, 60.0)
_HOPELESS = 10
_FINISHED = {"stop": "stop", "length": "length", "eos": "stop", "end_turn": "stop", "max_tokens": "length"}
_ADDRESS = re.compile(r"https?://[^/@?#\s]+(?:/[^@?#\s]*)?")
_ABOUT_CONTENT = ("content", "safety", "policy", "context length", "context_length", "maximum context", "too long")
_CHARS_PER_TOKEN = 4


class TeacherSettings(Settings):
    """An OpenAI-compatible endpoint and what it costs."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "api_key_env", "stream", "in_flight", "actors", "connect_timeout_s", "idle_timeout_s"}
        | {"max_attempts", "patience_s", "prompt_usd_per_mtok", "cached_usd_per_mtok"}
        | {"completion_usd_per_mtok"}
    )

    model: str
    """The model's name as the endpoint knows it."""
    base_url: str | None = None
    """The API's address up to /v1, such as https://api.example.com/v1; none with `standin`."""
    served_by: str | None = None
    """Names who serves the model, in the ledger's keys. None takes the address's host, so another host is asked anew;
    set it to keep what was bought when the address changes."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The name (not the value) of the environment variable that holds the key, on every node."""
    stream: bool = True
    """Server-sent events; off only for endpoints that have none."""
    send_seed: bool = True
    """Whether each draw sends its own `seed`; off for endpoints that refuse it."""
    max_tokens_field: str = "max_tokens"
    """What the endpoint calls the cap: max_tokens, or max_completion_tokens."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request, such as {reasoning_effort: high}."""
    in_flight: int = Field(default=64, gt=0)
    """Calls open at once in each calling actor."""
    actors: int = Field(default=1, gt=0)
    """The most calling actors; in_flight x actors calls are open at once."""
    connect_timeout_s: float = 30.0
    """Seconds to open a connection."""
    idle_timeout_s: float = 600.0
    """Seconds without a byte before an answer is given up and asked again."""
    max_attempts: int = Field(default=6, gt=0)
    """Tries of one call through errors before it is left for the next run; 429 does not count."""
    patience_s: float = 3600.0
    """Seconds one call may wait in all, through 429s and errors, before it is left for the next run."""
    prompt_usd_per_mtok: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, USD."""
    cached_usd_per_mtok: float | None = Field(default=None, ge=0)
    """Price of a million cached prompt tokens, USD; none means the prompt's price."""
    completion_usd_per_mtok: float = Field(default=0.0, ge=0)
    """Price of a million completion tokens, thought included, USD."""
    standin: StandinSettings | None = None
    """Starts the stand-in teacher on this machine instead of asking a real one."""

    @model_validator(mode="after")
    def _one_address(self) -> "TeacherSettings":
        if (self.base_url is None) == (self.standin is None):
            raise ValueError("needs either base_url (an API's address up to /v1) or standin, not both")
        if self.base_url is not None and not _ADDRESS.fullmatch(self.base_url):
            raise ValueError("base_url must be like https://api.example.com/v1, with no user, password or query in it")
        return self

    @property
    def identity(self) -> str:
        """Who answers, for the ledger's keys: model, who serves it, and what else goes into every request."""
        served_by = self.served_by
        if served_by is None:
            served_by = self.standin.identity if self.standin else (self.base_url or "").split("/")[2]
        extra = f" {canonical(self.extra_body)}" if self.extra_body else ""
        return f"{self.model} @ {served_by}{extra}"

    def cost(self, *, prompt: int, cached: int, completion: int) -> float:
        """USD for so many tokens; `cached` are part of `prompt`."""
        cached_price = self.prompt_usd_per_mtok if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        usd = (prompt - cached) * self.prompt_usd_per_mtok + cached * cached_price
        return (usd + completion * self.completion_usd_per_mtok) / 1e6


@dataclass
class Teacher:
    """Answers calls over HTTP; use it in `async with`. `proven`: it has answered this recipe's calls before."""

    settings: TeacherSettings
    base_url: str
    api_key: str | None = field(repr=False, default=None)
    proven: bool = False
    _refused: int = 0
    _given_up: int = 0
    _session: aiohttp.ClientSession | None = None
    _hold_until: float = 0.0

    @property
    def identity(self) -> str:
        """Who answers, for the ledger's keys."""
        return self.settings.identity

    @property
    def seeded(self) -> bool:
        """Whether draws send their seed."""
        return self.settings.send_seed

    async def __aenter__(self) -> "Teacher":
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.settings.connect_timeout_s, sock_read=self.settings.idle_timeout_s
            ),
            headers=headers,
            json_serialize=lambda value: orjson.dumps(value).decode(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def answer(self, call: Call) -> Answer:
        """One answer, through retries. Raises Unfinished when they run out, Stop when the endpoint is unusable."""
        body = self._body(call)
        errors = attempts = 0
        patience = self.settings.patience_s
        while True:
            await self._hold()
            attempts += 1
            try:
                answer = self._answer(await self._ask(body), asked=call.messages, attempts=attempts)
                self.proven = True
                self._given_up = 0
                return answer
            except _Refused as refused:
                return self._refusal(self._safe(refused), attempts=attempts)
            except _Again as again:
                errors += not again.limited
                wait = again.wait_s if again.wait_s is not None else _backoff(errors or attempts)
                patience -= wait
                if errors >= self.settings.max_attempts or patience < 0:
                    raise self._give_up(again) from again
                if again.limited:
                    # A limit is the endpoint's, not this call's: everyone in this process waits.
                    self._hold_until = max(self._hold_until, _now() + wait)
                else:
                    await asyncio.sleep(wait)

    def _give_up(self, again: "_Again") -> Exception:
        self._given_up += 1
        said = self._safe(again)
        if again.unreachable:
            return Stop(
                f"the teacher at {self.base_url} can't be reached ({said}): start it or correct teacher.base_url, "
                "then run the same command again"
            )
        if self._given_up >= _HOPELESS:
            return Stop(f"{_HOPELESS} calls in a row found no answer ({said}): run the same command again later")
        return Unfinished(said)

    def _refusal(self, said: str, *, attempts: int) -> Answer:
        """The final refusal of one call. Raises while nothing was answered yet: then it may be the recipe's fault."""
        self._refused += 1
        if self.proven or any(word in said.lower() for word in _ABOUT_CONTENT):
            return Answer(outcome="refused", why=said, attempts=attempts)
        if self._refused >= _HOPELESS:
            raise Stop(f"the teacher refuses every request ({said}): correct the teacher section of the recipe")
        raise Unfinished(f"refused: {said}")

    def _safe(self, error: Exception) -> str:
        """The error's text without the key (some endpoints repeat it, and errors are written down), cut short."""
        text = str(error).replace(self.api_key, "(the key)") if self.api_key else str(error)
        return text[:200]

    def _body(self, call: Call) -> dict[str, Any]:
        sampling = orjson.loads(call.sampling)
        body = {
            "model": self.settings.model,
            "messages": orjson.loads(call.messages),
            "temperature": sampling["temperature"],
            "top_p": sampling["top_p"],
            self.settings.max_tokens_field: sampling["max_tokens"],
            **self.settings.extra_body,
        }
        if self.settings.send_seed:
            body["seed"] = call.seed
        if self.settings.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    async def _hold(self) -> None:
        while (wait := self._hold_until - _now()) > 0:
            # The spread keeps the whole fleet from returning in the same instant.
            await asyncio.sleep(wait + random.uniform(0, 0.1))

    async def _ask(self, body: dict[str, Any]) -> Reply:
        assert self._session is not None, "use the teacher in `async with`"
        try:
            async with self._session.post(f"{self.base_url.rstrip('/')}/chat/completions", json=body) as response:
                if response.status != 200:
                    await self._raise_for(response)
                return await (read_stream(response) if self.settings.stream else read_whole(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            said = getattr(error, "strerror", None) or error
            raise _Again(f"{type(error).__name__}: {said}", unreachable=True) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise _Again(f"{type(error).__name__}: {error}") from error

    async def _raise_for(self, response: aiohttp.ClientResponse) -> None:
        told = f"HTTP {response.status}: {_message(await response.read())}"
        if response.status in (401, 403):
            source = self.settings.api_key_env
            fix = f"check the key in {source}" if source else "set teacher.api_key_env to the variable with the key"
            raise Stop(f"the teacher at {self.base_url} refuses the key (HTTP {response.status}): {fix}")
        if response.status == 404:
            said = self._safe(ValueError(told))
            raise Stop(f"the teacher at {self.base_url} knows no model {self.settings.model!r} ({said})")
        if response.status == 402:
            raise Stop(
                f"the teacher at {self.base_url} wants to be paid (HTTP 402): top up, then run the command again"
            )
        if response.status == 429:
            raise _Again(told, limited=True, wait_s=_retry_after(response))
        if response.status >= 500 or response.status == 408:
            raise _Again(told, wait_s=_retry_after(response))
        raise _Refused(told)

    def _answer(self, reply: Reply, *, asked: str, attempts: int) -> Answer:
        if reply.finish_reason == "content_filter":
            raise _Refused("content_filter")
        if reply.finish_reason not in _FINISHED:
            # Such as DeepSeek's insufficient_system_resource: the text was cut off by the endpoint, not by its end.
            raise _Again(f"the answer was broken off: finish_reason {reply.finish_reason or 'missing'}")
        finish_reason = _FINISHED[reply.finish_reason]
        taken = split(reply.content, truncated=finish_reason == "length")
        thought, text = (
            (reply.reasoning.strip(), reply.content.strip())
            if reply.reasoning
            else (
                taken.thought,
                taken.reply,
            )
        )
        completion = reply.completion_tokens or _estimate(thought) + _estimate(text)
        thinking = reply.reasoning_tokens
        if thinking is None:
            thinking = round(completion * len(thought) / max(1, len(thought) + len(text)))
        prompt = reply.prompt_tokens or _estimate(asked)
        return Answer(
            outcome="answered",
            thought=thought,
            reply=text,
            finish_reason=finish_reason,
            prompt_tokens=prompt,
            cached_tokens=reply.cached_tokens,
            thought_tokens=thinking,
            reply_tokens=completion - thinking,
            cost_usd=self.settings.cost(prompt=prompt, cached=reply.cached_tokens, completion=completion),
            attempts=attempts,
        )


class _Again(Exception):
    """The same request may succeed later."""

    def __init__(
        self, said: str, *, limited: bool = False, unreachable: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(said)
        self.limited = limited
        self.unreachable = unreachable
        self.wait_s = wait_s


class _Refused(Exception):
    """This request will never succeed."""


def _backoff(failures: int) -> float:
    low, high = _BACKOFF_S
    return random.uniform(0.5, 1.0) * min(high, low * 2.0 ** (failures - 1))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date, now = (parsedate_to_datetime(text) for text in (value, response.headers["Date"]))
    except (ValueError, KeyError):
        return None
    # A date of no stated zone ("-0000") is UTC.
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds())


def _message(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = body.decode(errors="replace")
    return " ".join(str(said).split())


def _estimate(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _now() -> float:
    return asyncio.get_running_loop().time()
