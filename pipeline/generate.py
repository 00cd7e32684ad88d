"""Ask an engine for draws, and put every answer into the ledger before anyone sees it. One path for all engines."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from pipeline.errors import Stop
from pipeline.ledger import Call, Entry, Ledger, call_key, canonical
from pipeline.prompts import needs_solution, render
from pipeline.record import Problem
from pipeline.settings import Settings
from pipeline.truncated import Truncated, chain


class Sampling(Settings):
    """How an engine draws."""

    temperature: float = Field(default=0.6, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus of the distribution that is drawn from."""
    max_tokens: int = Field(gt=0)
    """The most tokens a draw may have, thought included; one that hits it is truncated."""


class Generation(Settings):
    """One way of getting traces: who is asked, with which prompt, how often."""

    # It decides how a trace is trained on, not what it is; the data set's fingerprint has it.
    operational: ClassVar[frozenset[str]] = frozenset({"train_prompt"})

    name: str
    """What these traces are called in their rows and in train.phases."""
    engine: Literal["teacher", "student"]
    """Who answers: the teacher's API, or the student as it is before training, on vLLM."""
    prompt: str = "solve"
    """The prompt's name: solve, boxed, reformat, bare, or one of the recipe's own."""
    train_prompt: str | None = None
    """The prompt that its traces are trained under, where that is not the one asked: solve, for reformat."""
    draws: int = Field(default=1, gt=0)
    """Answers for each problem."""
    sampling: Sampling
    """How it draws."""
    truncated: Truncated = Truncated()
    """What is done about an answer that hit max_tokens."""
    problems: float = Field(default=1.0, gt=0, le=1)
    """The share of the problems that is asked, the same ones every time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine gave for one call; see Entry for the fields."""

    outcome: Literal["answered", "refused", "failed"]
    why: str = ""
    thought: str = ""
    reply: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    thought_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0
    unsure_usd: float = 0.0
    attempts: int = 1
    caller: str = ""
    """Whose money it was, where that is not the engine's own caller."""

    def by(self, caller: str) -> "Answer":
        """The same answer, on that caller's bill."""
        return replace(self, caller=caller)

    def after(self, *, attempts: int, unsure_usd: float) -> "Answer":
        """The same answer, with the requests that were sent for it and what the earlier ones may have cost."""
        if attempts == self.attempts and not unsure_usd:
            return self
        return replace(self, attempts=attempts, unsure_usd=self.unsure_usd + unsure_usd)


class Unfinished(Exception):
    """A call that found no answer for now (the engine was busy or broken for too long): buy it on the next run.

    `stop` is set when no other call will find one either.
    """

    def __init__(self, why: str, *, attempts: int = 1, unsure_usd: float = 0.0, stop: Stop | None = None) -> None:
        super().__init__(why)
        self.attempts = attempts
        self.unsure_usd = unsure_usd
        self.stop = stop


class Engine(Protocol):
    """Whoever answers calls."""

    @property
    def identity(self) -> str:
        """Who answers: part of every call's key."""
        ...

    @property
    def caller(self) -> str:
        """Who buys: the name that this process's money goes by."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether a call's seed decides its answer."""
        ...

    async def answer(self, call: Call) -> Answer:
        """The answer of one call. Raises Unfinished, or Stop when no call can be answered."""
        ...

    async def bought(self, keys: Sequence[str]) -> None:
        """Told once the answers to these calls are on storage."""
        ...


def calls_for(
    problem: Problem, generation: Generation, *, template: str, identity: str, seeded: bool, seed: int
) -> list[Call]:
    """The calls that a generation wants for a problem, one a draw; none if the problem is outside its share, or has no
    solution where the template shows one."""
    if not _is_in(problem, generation) or lacks_solution(problem, generation, template=template):
        return []
    messages = canonical(render(template, problem))
    return draws_of(problem.id, generation, messages=messages, identity=identity, seeded=seeded, seed=seed)


def lacks_solution(problem: Problem, generation: Generation, *, template: str) -> bool:
    """Whether a generation would ask for this problem, had it a solution to show."""
    return not problem.solution and needs_solution(template) and _is_in(problem, generation)


def _is_in(problem: Problem, generation: Generation) -> bool:
    """Whether the problem is in the share that is asked."""
    return int(problem.id[-8:], 16) / 0xFFFFFFFF <= generation.problems


def draws_of(
    problem_id: str, generation: Generation, *, messages: str, identity: str, seeded: bool, seed: int
) -> list[Call]:
    """The calls of a generation for one list of messages (JSON), one a draw."""
    sampling = generation.sampling.model_dump_json()
    calls = []
    for draw in range(generation.draws):
        # The seed is part of the key only where it decides the answer.
        call_seed = (seed * 1_000_000 + draw) % 2**31 if seeded else -1
        key = call_key(engine=identity, messages=messages, sampling=sampling, seed=call_seed, draw=draw)
        calls.append(Call(key, problem_id, generation.name, identity, draw, call_seed, messages, sampling))
    return calls


async def buy(
    calls: Iterable[Call],
    *,
    engine: Engine,
    ledger: Ledger,
    known: Mapping[str, Entry],
    truncated: Truncated,
    slots: asyncio.Semaphore,
    invocation: str,
    told: Callable[[Entry], None],
) -> list[str]:
    """Buy what the ledger does not hold, as many at a time as there are slots; returns why any stayed unfinished.

    Raises Stop when the engine can't answer at all, after what is in flight has come back and is on storage. A slot
    is held until its answer is on storage, so a process that is killed loses no more calls than there are slots.
    """
    # What the engine or the ledger can't go on after, or a fault of ours: nothing more is bought then.
    stops: list[BaseException] = []
    unfinished: list[str] = []

    async def one(call: Call) -> None:
        held, missing = chain(call, known, truncated)
        while missing is not None and not stops:
            try:
                entry = await _bought(missing, engine=engine, ledger=ledger, invocation=invocation)
            except Unfinished as without:
                unfinished.append(str(without))
                if without.stop is not None:
                    raise without.stop from without
                return
            told(entry)
            held, missing = chain(call, {e.key: e for e in (*held, entry)}, truncated)

    await _each(calls, one, slots=slots, stops=stops)
    if stops:
        raise stops[0]
    return unfinished


async def _each(
    calls: Iterable[Call],
    one: Callable[[Call], Coroutine[Any, Any, None]],
    *,
    slots: asyncio.Semaphore,
    stops: list[BaseException],
) -> None:
    """Work on each call with a slot held, until there are stops. Whatever a call raises becomes one."""
    running: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        slots.release()
        running.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            stops.append(error)

    try:
        # A task exists only while it holds a slot: thousands that wait would cost more than those that work.
        for call in calls:
            await slots.acquire()
            if stops:
                slots.release()
                break
            task = asyncio.create_task(one(call))
            running.add(task)
            task.add_done_callback(ended)
        while running:
            await asyncio.wait(running)
    except asyncio.CancelledError:
        for task in running:
            task.cancel()
        raise


async def _bought(call: Call, *, engine: Engine, ledger: Ledger, invocation: str) -> Entry:
    """The entry of a call, on storage. One that found no answer is written down too, with what it may have cost."""
    started = time.monotonic()
    try:
        answer = await engine.answer(call)
    except Unfinished as unfinished:
        if unfinished.attempts:
            failed = Answer("failed", str(unfinished)).after(
                attempts=unfinished.attempts, unsure_usd=unfinished.unsure_usd
            )
            await ledger.add(_entry(call, failed, engine, seconds=time.monotonic() - started, invocation=invocation))
        raise
    entry = _entry(call, answer, engine, seconds=time.monotonic() - started, invocation=invocation)
    await ledger.add(entry)
    return entry


def _entry(call: Call, answer: Answer, engine: Engine, *, seconds: float, invocation: str) -> Entry:
    return Entry(
        key=call.key,
        problem_id=call.problem_id,
        generation=call.generation,
        engine=call.engine,
        draw=call.draw,
        seed=call.seed,
        messages=call.messages,
        sampling=call.sampling,
        outcome=answer.outcome,
        why=answer.why,
        thought=answer.thought,
        reply=answer.reply,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        thought_tokens=answer.thought_tokens,
        reply_tokens=answer.reply_tokens,
        cost_usd=answer.cost_usd,
        unsure_usd=answer.unsure_usd,
        seconds=seconds,
        attempts=answer.attempts,
        bought_at=time.time(),
        invocation=invocation,
        caller=answer.caller or engine.caller,
    )
