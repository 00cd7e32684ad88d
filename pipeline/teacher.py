"""The teacher as an engine: a client of the chat-completions API that nearly all providers and local servers have.

Streams by default, with an idle timeout instead of a total one, so that an hour-long thought survives. Every request,
retries included, takes a lease from the limits first.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from pipeline.chat import Again, Place, Refused, Room, Unusable, ask
from pipeline.endpoints import EndpointSettings, TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.leases import Lease, Leases, OwnOffice
from pipeline.ledger import Call
from pipeline.limits import Gate, Limits, Outcome, Want
from pipeline.prompts import join_rest, split
from pipeline.sse import Reply

_BACKOFF_S = (0.2, 60.0)
_HOPELESS = 10
_FINISHED = {"stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop"}
_FINISHED |= {"length": "length", "max_tokens": "length", "model_length": "length"}
# What is about a problem and not about the recipe; a context that is too small may be either.
_ABOUT_CONTENT = (
    "content filter",
    "content_filter",
    "content policy",
    "content_policy",
    "content management",
    "safety",
)
_RUNS_ENOUGH = 2
_CHARS_PER_TOKEN = 4
_KNOWN_MEAN = 8


def places_of(
    endpoints: Sequence[EndpointSettings], settings: TeacherSettings, keys: Sequence[str | None]
) -> list[Place]:
    """The endpoints with their keys, in order."""
    return [
        Place(end.base_url.rstrip("/"), end.model or settings.model, key, end.key_from)
        for end, key in zip(endpoints, keys, strict=True)
    ]


@dataclass
class Teacher:
    """Answers calls over HTTP; use it in `async with`. `proven`: it has answered this recipe's calls before."""

    settings: TeacherSettings
    places: Sequence[Place]
    leases: Leases
    proven: bool = False
    failed_before: Counter[str] = field(default_factory=Counter)
    """How often earlier runs found no answer, by the call's key."""
    _refused: int = 0
    _given_up: int = 0
    _answers: int = 0
    _mean_tokens: float = 0.0
    _session: aiohttp.ClientSession | None = field(repr=False, default=None)

    @property
    def identity(self) -> str:
        """Who answers, for the ledger's keys."""
        return self.settings.identity

    @property
    def caller(self) -> str:
        """Who buys: the name that this process's money goes by."""
        return self.leases.caller

    @property
    def seeded(self) -> bool:
        """Whether draws send their seed."""
        return self.settings.send_seed

    async def __aenter__(self) -> "Teacher":
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.settings.connect_timeout_s, sock_read=self.settings.idle_timeout_s
        )
        # What may lie between socket and parser: 32 KiB reads as fast as a megabyte, and many replies come at once.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=timeout,
            read_bufsize=2**15,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        await self.leases.close()

    async def answer(self, call: Call) -> Answer:
        """One answer, through retries. Raises Unfinished when they run out, Stop when no endpoint is usable."""
        assert self._session is not None, "use the teacher in `async with`"
        tries = _Tries(self.settings, answers_before=self._answers)
        worst = self.settings.worst_cost(call.messages, max_tokens=orjson.loads(call.sampling)["max_tokens"])
        while True:
            want = Want(self._likely_tokens(call), worst)
            try:
                lease = await self.leases.take(want)
            except Stop as stop:
                raise tries.unfinished(str(stop), stop=stop) from stop
            tries.requests += 1
            place = self.places[lease.endpoint]
            try:
                reply, room = await ask(self._session, place, self._body(call, place), stream=self.settings.stream)
                answer = self._answer(reply, call, worst=worst, place=place)
            except Again as again:
                final = await self._after(again, lease, tries, call)
                if final is not None:
                    return final
            except Refused as refused:
                self.leases.give(lease, Outcome(lease.endpoint, "refused", -want.tokens), settled_usd=0.0)
                return self._refusal(str(refused), tries)
            except Unusable as unusable:
                outcome = Outcome(lease.endpoint, "unusable", -want.tokens, why=str(unusable))
                self.leases.give(lease, outcome, settled_usd=0.0)
            else:
                self._settle(lease, answer, room)
                return tries.paid(answer)

    async def bought(self, keys: Sequence[str]) -> None:
        """Tell the limits at once what these calls came to."""
        await self.leases.flush()

    async def _after(self, again: Again, lease: Lease, tries: "_Tries", call: Call) -> Answer | None:
        """Give the lease back and wait before the next try. Raises, or returns a refusal, when there shall be none."""
        unsure = lease.want.usd if again.sent else 0.0
        tries.unsure_usd += unsure
        room = again.room
        if room.wait_s is not None and room.wait_s > self.settings.patience_s:
            self._leave(lease, again, settled_usd=unsure)
            return None
        outcome = Outcome(
            lease.endpoint,
            "limited" if again.limited else "failed",
            -lease.want.tokens,
            room.wait_s,
            room.requests,
            room.tokens,
        )
        self.leases.give(lease, outcome, settled_usd=unsure)
        wait = tries.wait(again, proven=self.proven)
        if wait is not None:
            await asyncio.sleep(wait)
            return None
        others = self._answers > tries.answers_before
        if self.proven and (again.garbled or (others and self.failed_before[call.key] >= _RUNS_ENOUGH)):
            # It was asked often enough, and others were answered: asking on every later run would find the same.
            return tries.paid(Answer(outcome="refused", why=f"gave up after {tries.requests} requests: {again}"))
        raise self._give_up(again, tries, others=others)

    def _leave(self, lease: Lease, again: Again, *, settled_usd: float) -> None:
        """Ask this endpoint no more in this run: it wants longer than anyone would wait."""
        hours = (again.room.wait_s or 0.0) / 3600
        why = f"{self.places[lease.endpoint].base_url} asks to wait {hours:.1f} h ({again}): run the same command then"
        outcome = Outcome(lease.endpoint, "unusable", -lease.want.tokens, why=why)
        self.leases.give(lease, outcome, settled_usd=settled_usd)

    def _give_up(self, again: Again, tries: "_Tries", *, others: bool) -> Unfinished | Stop:
        said = str(again)
        self._given_up += 1
        if again.unreachable and not others:
            where = ", ".join(place.base_url for place in self.places)
            fix = "start it or correct teacher.base_url, then run the same command again"
            return tries.unfinished(said, stop=Stop(f"the teacher at {where} can't be reached ({said}): {fix}"))
        if self._given_up >= _HOPELESS:
            stop = Stop(f"{_HOPELESS} calls in a row found no answer ({said}): run the same command again later")
            return tries.unfinished(said, stop=stop)
        return tries.unfinished(said)

    def _refusal(self, said: str, tries: "_Tries") -> Answer:
        """The final refusal of one call. Raises while nothing was answered yet: then it may be the recipe's fault."""
        self._refused += 1
        if self.proven or any(word in said.lower() for word in _ABOUT_CONTENT):
            return tries.paid(Answer(outcome="refused", why=said))
        if self._refused >= _HOPELESS:
            fix = "correct the teacher section of the recipe"
            raise tries.unfinished(said, stop=Stop(f"the teacher refuses every request ({said}): {fix}"))
        raise tries.unfinished(f"refused: {said}")

    def _settle(self, lease: Lease, answer: Answer, room: Room) -> None:
        used = answer.prompt_tokens + answer.thought_tokens + answer.reply_tokens
        self._answers += 1
        self._mean_tokens += (used - self._mean_tokens) / self._answers
        wait = room.wait_s if room.wait_s is not None and room.wait_s <= self.settings.patience_s else None
        outcome = Outcome(lease.endpoint, "answered", used - lease.want.tokens, wait, room.requests, room.tokens)
        self.leases.give(lease, outcome, settled_usd=answer.cost_usd + answer.unsure_usd)
        if answer.outcome == "answered":
            self.proven = True
            self._given_up = 0

    def _likely_tokens(self, call: Call) -> float:
        """What a call will likely use: the mean so far, or all that it may while that is unknown."""
        if self._answers >= _KNOWN_MEAN:
            return self._mean_tokens
        return float(_estimate(call.messages) + orjson.loads(call.sampling)["max_tokens"])

    def _body(self, call: Call, place: Place) -> dict[str, Any]:
        body = request_body(self.settings, call, model=place.model)
        if self.settings.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def _answer(self, reply: Reply, call: Call, *, worst: float, place: Place) -> Answer:
        try:
            return answer_of(reply, call, self.settings, worst=worst)
        except ValueError as error:
            raise Again(place.safe(str(error)), sent=True, garbled=True) from None


def alone(settings: TeacherSettings, address: str | None = None, *, api_key: str | None = None) -> Teacher:
    """A teacher whose limits are kept in this very process: for a script or a REPL, where nobody else asks it."""
    endpoints = settings.at(address)
    now = time.monotonic()
    gates = [
        Gate(end.limits or settings.limits, most=settings.in_flight, weight=end.weight, now=now, full=True)
        for end in endpoints
    ]
    places = places_of(endpoints, settings, [api_key] * len(endpoints))
    return Teacher(settings, places, Leases(OwnOffice(Limits(gates)), len(gates)))


@dataclass
class _Tries:
    """What one call has been through."""

    settings: TeacherSettings
    answers_before: int = 0
    requests: int = 0
    errors: int = 0
    unsure_usd: float = 0.0
    _trouble_since: float | None = None

    def wait(self, again: Again, *, proven: bool) -> float | None:
        """Seconds until the next try; None when there shall be none."""
        now = asyncio.get_running_loop().time()
        self._trouble_since = self._trouble_since or now
        # One that has answered before and is gone may come back: time decides, not the number of tries. But a request
        # that had gone out may be billed, and so may each try after it.
        self.errors += not again.limited and not (again.unreachable and proven and not again.sent)
        said = again.room.wait_s or 0.0
        if self.errors >= self.settings.max_attempts or now + said - self._trouble_since > self.settings.patience_s:
            return None
        # Where many are turned away, the limits hold everyone for as long.
        return _backoff(max(1, self.errors)) if again.room.wait_s is None else again.room.wait_s

    def unfinished(self, why: str, *, stop: Stop | None = None) -> Unfinished | Stop:
        """No answer for now; a Stop that cost nothing needs no line in the ledger."""
        if stop is not None and not self.unsure_usd:
            return stop
        return Unfinished(why, attempts=self.requests, unsure_usd=self.unsure_usd, stop=stop)

    def paid(self, answer: Answer) -> Answer:
        """The answer with all that was asked for it."""
        return answer.after(attempts=self.requests, unsure_usd=self.unsure_usd)


def request_body(settings: TeacherSettings, call: Call, *, model: str) -> dict[str, Any]:
    """The JSON of one request, as plain and batch endpoints take it."""
    sampling = orjson.loads(call.sampling)
    messages = orjson.loads(call.messages)
    body = {
        "model": model,
        "messages": messages,
        "temperature": sampling["temperature"],
        "top_p": sampling["top_p"],
        settings.max_tokens_field: sampling["max_tokens"],
        **settings.extra_body,
    }
    if settings.send_seed:
        body["seed"] = call.seed
    if messages[-1]["role"] == "assistant":
        if settings.continues == "prefix":
            messages[-1]["prefix"] = True
        else:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def answer_of(reply: Reply, call: Call, settings: TeacherSettings, *, worst: float) -> Answer:
    """A reply as an answer with its bill. Raises ValueError when the endpoint broke it off, after which it may go well.

    Without a usage block the bill is estimated at four characters a token, and `unsure_usd` is what is missing to
    the most that it can have cost.
    """
    filtered = reply.finish_reason == "content_filter"
    if not filtered and reply.finish_reason not in _FINISHED:
        # Such as DeepSeek's insufficient_system_resource: the text was cut off by the endpoint, not by its end.
        raise ValueError(f"the answer was broken off: finish_reason {reply.finish_reason or 'missing'}")
    finish_reason = _FINISHED.get(reply.finish_reason, reply.finish_reason)
    thought, text = _parts(reply, call, truncated=finish_reason == "length")
    completion = reply.completion_tokens or _estimate(thought) + _estimate(text)
    thinking = reply.reasoning_tokens
    if thinking is None:
        thinking = round(completion * len(thought) / max(1, len(thought) + len(text)))
    prompt = reply.prompt_tokens or _estimate(call.messages)
    cost = settings.cost(prompt=prompt, cached=reply.cached_tokens, completion=completion)
    return Answer(
        outcome="refused" if filtered else "answered",
        why="content_filter" if filtered else "",
        thought="" if filtered else thought,
        reply="" if filtered else text,
        finish_reason=finish_reason,
        prompt_tokens=prompt,
        cached_tokens=reply.cached_tokens,
        thought_tokens=thinking,
        reply_tokens=max(0, completion - thinking),
        cost_usd=cost,
        unsure_usd=0.0 if reply.counted else max(0.0, worst - cost),
    )


def _parts(reply: Reply, call: Call, *, truncated: bool) -> tuple[str, str]:
    last = orjson.loads(call.messages)[-1]
    if last["role"] == "assistant":
        # The rest of an answer: it is taken apart once it is joined to its start.
        return "", join_rest(last["content"], reasoning=reply.reasoning, content=reply.content)
    if reply.reasoning:
        return reply.reasoning.strip(), reply.content.strip()
    taken = split(reply.content, truncated=truncated)
    return taken.thought, taken.reply


def _backoff(failures: int) -> float:
    low, high = _BACKOFF_S
    return random.uniform(0.5, 1.0) * min(high, low * 2.0 ** (failures - 1))


def _estimate(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)
