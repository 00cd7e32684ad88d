"""The teacher through its provider's batch API, as an engine like the others: usually at half the price, hours later.

Calls are gathered into batches. What was sent is written down (`ledger/batches/`) before and after sending, and a batch
carries a mark at the provider: a process that is killed at any moment finds its batches again and sends none twice.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from pipeline.batches import BatchApi, Unsent
from pipeline.chat import Place
from pipeline.endpoints import TeacherSettings
from pipeline.errors import Stop
from pipeline.generate import Answer, Unfinished
from pipeline.leases import Lease, Leases, Office
from pipeline.ledger import FOLDER, Call
from pipeline.limits import Outcome, Want
from pipeline.sse import whole_reply
from pipeline.store import Store
from pipeline.teacher import answer_of, request_body

_RESERVE_S = 1.0
_WAITING = tuple[Call, "asyncio.Future[Answer]"]


@dataclass
class _Batch:
    """A batch on its way: the calls in it by key, and the money reserved for it."""

    mark: str
    worst: dict[str, float]
    leases: Leases
    id: str | None = None
    open: dict[str, Lease] = field(default_factory=dict)
    results: dict[str, Answer | Exception] = field(default_factory=dict)
    asked: dict[str, list["asyncio.Future[Answer]"]] = field(default_factory=dict)


@dataclass
class BatchTeacher:
    """Answers calls in batches; use it in `async with`. One process at a time may hold a run's batches of one name."""

    settings: TeacherSettings
    place: Place
    office: Office
    store: Store
    name: str
    """Whose batches these are: the generation's."""
    proven: bool = False
    """Whether it has answered this recipe's calls before."""
    _session: aiohttp.ClientSession | None = field(repr=False, default=None)
    _gathered: list[_WAITING] = field(default_factory=list)
    _last_at: float = 0.0
    _sender: asyncio.Task[None] | None = None
    _batches: list[_Batch] = field(default_factory=list)
    _watching: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def identity(self) -> str:
        """Who answers, for the ledger's keys: the same as without batches, so either way buys for both."""
        return self.settings.identity

    @property
    def caller(self) -> str:
        """Batches have names of their own in the books; see `_Batch.mark`."""
        return f"batches-{self.name}"

    @property
    def seeded(self) -> bool:
        """Whether draws send their seed."""
        return self.settings.send_seed

    async def __aenter__(self) -> "BatchTeacher":
        assert self.settings.batch is not None, "the recipe has a batch section"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout_s, sock_read=600)
        self._session = aiohttp.ClientSession(timeout=timeout)
        for file in self.store.names(f"{self._folder}", ".json"):
            await self._adopt(self.store.read_json(f"{self._folder}/{file}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._watching, *([self._sender] if self._sender else [])):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._session.close()

    async def answer(self, call: Call) -> Answer:
        """One answer, some hours later. Raises Unfinished when no batch had one for it, Stop when none can be sent."""
        unsure, why = 0.0, ""
        for attempt in range(1, self.settings.max_attempts + 1):
            try:
                return (await self._once(call)).after(attempts=attempt, unsure_usd=unsure)
            except Unfinished as unfinished:
                unsure += unfinished.unsure_usd
                why = str(unfinished)
        raise Unfinished(why, attempts=self.settings.max_attempts, unsure_usd=unsure)

    async def _once(self, call: Call) -> Answer:
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        held = next((batch for batch in self._batches if call.key in batch.worst), None)
        if held is not None:
            self._hand_over(held, call, done)
            return await done
        self._gathered.append((call, done))
        self._last_at = time.monotonic()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_gathered())
        return await done

    @property
    def _folder(self) -> str:
        return f"{FOLDER}/batches/{self.name}"

    @property
    def _api(self) -> BatchApi:
        assert self._session is not None, "use the teacher in `async with`"
        return BatchApi(self._session, self.place)

    async def bought(self, keys: Sequence[str]) -> None:
        """These answers are on storage (or given up): a batch that has no others left is forgotten."""
        for batch in list(self._batches):
            for key in keys:
                batch.worst.pop(key, None)
            # While one batch is closed, another shard may be through with the next and take it away.
            if not batch.worst and batch in self._batches:
                self._batches.remove(batch)
                await batch.leases.close()
                self.store.delete(f"{self._folder}/{batch.mark}.json")

    async def _send_gathered(self) -> None:
        settings = self.settings.batch
        assert settings is not None
        while self._gathered:
            quiet = time.monotonic() - self._last_at
            if len(self._gathered) < settings.calls and quiet < settings.gather_s:
                await asyncio.sleep(settings.gather_s - quiet)
                continue
            gathered, self._gathered = self._gathered[: settings.calls], self._gathered[settings.calls :]
            try:
                await self._send(gathered)
            except Exception as error:  # noqa: BLE001 whatever it is, everyone who waits must hear of it
                said = error if isinstance(error, Stop) else Stop(f"the batch can't be sent: {error!r:.200}")
                # What stopped this batch stops the next ones too.
                _fail((done for _, done in (*gathered, *self._gathered)), said)
                self._gathered.clear()

    async def _send(self, gathered: Sequence[_WAITING]) -> None:
        batch = _Batch(f"{self.name}-{uuid.uuid4().hex}", {}, Leases(self.office, 1))
        batch.leases.caller = batch.mark
        calls = await self._reserve(batch, gathered)
        if not calls:
            await batch.leases.close()
            return
        self._note(batch, calls)
        self._batches.append(batch)
        bodies = {call.key: request_body(self.settings, call, model=self.place.model) for call in calls}
        assert self.settings.batch is not None
        try:
            batch.id = await self._api.send(bodies, mark=batch.mark, window=self.settings.batch.completion_window)
        except Unsent:
            self._batches.remove(batch)
            await batch.leases.close()
            self.store.delete(f"{self._folder}/{batch.mark}.json")
            raise
        except BaseException:
            # Whether it arrived is not known, so its money stays charged; who next looks for its mark will know.
            self._batches.remove(batch)
            batch.leases.abandon()
            raise
        self._note(batch, calls)
        self._watch(batch, {call.key: call for call in calls})

    async def _reserve(self, batch: _Batch, gathered: Sequence[_WAITING]) -> list[Call]:
        """Put the calls into the batch that there is money for; the others wait for another batch."""
        leases = [asyncio.ensure_future(batch.leases.take(Want(0.0, self._worst(call)))) for call, _ in gathered]
        await asyncio.wait(leases, return_when=asyncio.FIRST_COMPLETED)
        # What is reserved must be sent before more money can come free: to wait for all would be to wait for ever.
        await asyncio.wait(leases, timeout=_RESERVE_S)
        calls = []
        for (call, done), lease in zip(gathered, leases, strict=True):
            if not lease.done():
                lease.cancel()
                self._gathered.append((call, done))
            elif (error := lease.exception()) is not None:
                _fail([done], error)
            else:
                calls.append(call)
                batch.open[call.key] = lease.result()
                batch.worst[call.key] = lease.result().want.usd
                batch.asked.setdefault(call.key, []).append(done)
        return calls

    def _note(self, batch: _Batch, calls: Sequence[Call]) -> None:
        told = {"id": batch.id, "calls": [_as_json(call) for call in calls]}
        self.store.write_json(f"{self._folder}/{batch.mark}.json", {"mark": batch.mark, **told})

    async def _adopt(self, noted: dict[str, Any]) -> None:
        """Take over a batch that an earlier process sent, or was about to send."""
        calls = {key: Call(**told) for told in noted["calls"] for key in [told["key"]]}
        batch = _Batch(noted["mark"], {key: self._worst(call) for key, call in calls.items()}, Leases(self.office, 1))
        batch.leases.caller = batch.mark
        batch.id = noted["id"] or await self._api.find(batch.mark)
        if batch.id is None:
            # It was never sent: its calls are gathered anew when they are asked for.
            await batch.leases.close()
            self.store.delete(f"{self._folder}/{batch.mark}.json")
            return
        batch.open = {key: batch.leases.hold(Want(0.0, usd)) for key, usd in batch.worst.items()}
        self._batches.append(batch)
        self._watch(batch, calls)

    def _watch(self, batch: _Batch, calls: dict[str, Call]) -> None:
        task = asyncio.create_task(self._fetch(batch, calls))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _fetch(self, batch: _Batch, calls: dict[str, Call]) -> None:
        """Look at a batch until it is over, and give each call its answer."""
        assert self.settings.batch is not None
        assert batch.id is not None
        try:
            while not (state := await self._api.state(batch.id)).over:
                await asyncio.sleep(self.settings.batch.poll_s)
            found = {line["custom_id"]: line for line in await self._api.lines(state.files)}
        except Exception as error:  # noqa: BLE001 whatever it is, everyone who waits must hear of it
            # It is still at the provider: a later run takes it over.
            said = error if isinstance(error, Stop) else Stop(f"batch {batch.id} can't be read: {error!r:.200}")
            self._hand_out(batch, dict.fromkeys(calls, said))
            return
        if state.why:
            await self._refuse(batch, calls, f"the provider refused the batch ({state.why})")
            return
        results = {key: self._result(batch, call, found.get(key)) for key, call in calls.items()}
        answered = [result for result in results.values() if isinstance(result, Answer)]
        self.proven |= any(answer.outcome == "answered" for answer in answered)
        if not self.proven and answered:
            # It may be the recipe's fault, and must not become the final word on every problem.
            await self._refuse(batch, calls, f"the teacher refuses every request ({answered[0].why})")
            return
        for key, result in results.items():
            self._settle(batch, key, result)
            if isinstance(result, Unfinished):
                # Asked again, it goes into another batch.
                batch.worst.pop(key, None)
        self._hand_out(batch, results)

    async def _refuse(self, batch: _Batch, calls: dict[str, Call], why: str) -> None:
        """All of it was refused and nothing is billed: it is forgotten at once."""
        self._hand_out(batch, dict.fromkeys(calls, Stop(f"{why}: correct the teacher section of the recipe")))
        await self.bought(list(calls))

    def _hand_out(self, batch: _Batch, results: Mapping[str, Answer | Exception]) -> None:
        batch.results.update(results)
        for key, asked in batch.asked.items():
            for done in asked:
                _give(done, batch.results[key])
        batch.asked.clear()

    def _result(self, batch: _Batch, call: Call, line: dict[str, Any] | None) -> Answer | Exception:
        line = line or {}
        response = _dict(line.get("response"))
        why = self.place.safe(
            _said(line.get("error") or _dict(response.get("body")).get("error") or response.get("body"))
        )
        if response.get("status_code") == 200:
            try:
                answer = answer_of(
                    whole_reply(response["body"]), call, self.settings, worst=batch.open[call.key].want.usd
                )
            except ValueError as broken:
                return Unfinished(self.place.safe(str(broken)), unsure_usd=batch.open[call.key].want.usd)
            return answer.by(batch.mark)
        if response.get("status_code") in (401, 402, 403, 404):
            return Stop(f"the teacher at {self.place.base_url} refuses a batch's requests: {why}")
        if response.get("status_code") == 400:
            return Answer("refused", why=f"HTTP 400: {why}").by(batch.mark)
        return Unfinished(why)

    def _settle(self, batch: _Batch, key: str, result: Answer | Exception) -> None:
        cost = result.cost_usd + result.unsure_usd if isinstance(result, Answer) else 0.0
        if isinstance(result, Unfinished):
            cost = result.unsure_usd
        batch.leases.give(batch.open.pop(key), Outcome(0, "answered"), settled_usd=cost)

    def _hand_over(self, batch: _Batch, call: Call, done: "asyncio.Future[Answer]") -> None:
        if call.key in batch.results:
            _give(done, batch.results[call.key])
        else:
            batch.asked.setdefault(call.key, []).append(done)

    def _worst(self, call: Call) -> float:
        return self.settings.worst_cost(call.messages, max_tokens=orjson.loads(call.sampling)["max_tokens"])


def _as_json(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in Call.__dataclass_fields__}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(error: Any) -> str:
    said = (error.get("message") or error.get("code")) if isinstance(error, dict) else error
    return " ".join(str(said or "the batch ended without it").split())


def _give(done: "asyncio.Future[Answer]", result: Answer | Exception) -> None:
    if isinstance(result, Answer):
        if not done.done():
            done.set_result(result)
    else:
        _fail([done], result)


def _fail(waiting: Any, error: BaseException) -> None:
    for done in waiting:
        if not done.done():
            done.set_exception(error)
