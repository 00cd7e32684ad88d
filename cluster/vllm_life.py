"""One vLLM engine from its start to its death: its processes, the draws in it, and whether it still moves."""

import asyncio
import contextlib
import multiprocessing
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from cluster.vllm_stats import Figures, recorder
from pipeline.errors import Stop

_LOOK_S = 1.0
_SHUTDOWN_S = 30.0


class Died(Exception):
    """The engine is gone, with all that was drawn in it."""


@dataclass
class Stall:
    """Whether draws are open and nothing has moved for `after_s` seconds."""

    after_s: float
    _quiet_s: float = 0.0
    _steps: int = -1
    _looked: float = 0.0

    def look(self, *, now: float, open_draws: int, steps: int) -> bool:
        """Look at a clock (seconds) and at the engine's count of steps; to be called about once a second."""
        # A process that was itself stopped for an hour has not watched for an hour.
        passed, self._looked = min(now - self._looked, 2 * _LOOK_S), now
        moved, self._steps = steps != self._steps, steps
        self._quiet_s = 0.0 if moved or not open_draws else self._quiet_s + passed
        return self._quiet_s >= self.after_s


class Life:
    """A running engine. Raises Died from `draw` once it died, hung for `stall_s` seconds, or was ended."""

    def __init__(self, llm: Any, family: list[psutil.Process], figures: Figures, *, stall_s: float) -> None:
        self.ended = ""
        self._llm = llm
        self._family = family
        self._figures = figures
        self._stall = Stall(stall_s)
        self._draws: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, args: dict[str, Any], figures: Figures, *, stall_s: float) -> "Life":
        """An engine from vLLM's AsyncEngineArgs.

        Raises Died when it was killed while it started, and what vLLM raises when it can't be made.
        """
        llm, family = await asyncio.to_thread(_start, args, figures)
        return cls(llm, family, figures, stall_s=stall_s)

    def watch(self, looked: Callable[[], None]) -> None:
        """From now on look after the engine once a second, and call `looked` each time."""
        self._watch = asyncio.create_task(self._look_after(looked))

    async def draw(self, ids: list[int], params: Any, request: str) -> Any:
        """The one final RequestOutput of a prompt's tokens; None when vLLM gave none."""
        import zmq
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        if self.ended:
            raise Died(self.ended)
        draw = asyncio.create_task(_last(self._llm.generate({"prompt_token_ids": ids}, params, request)))
        self._draws.add(draw)
        try:
            return await draw
        except EngineDeadError as error:
            self.end("its process died")
            raise Died(self.ended) from error
        except (EngineGenerateError, zmq.ZMQError, asyncio.CancelledError) as error:
            this = asyncio.current_task()
            if self.ended and not (this and this.cancelling()):
                raise Died(self.ended) from error
            raise
        finally:
            self._draws.discard(draw)

    def end(self, why: str) -> None:
        """Kill the engine's processes and break off every draw in it; the first reason stays."""
        if self.ended:
            return
        self.ended = why
        for process in self._family:
            # SIGKILL reaches a stopped process too. psutil tells a process from a later one with its number.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for draw in self._draws:
            draw.cancel()

    async def bury(self) -> None:
        """Give back what an ended engine still holds here; vLLM's clean-up may hang, and is not waited for then."""
        if self._watch is not None:
            self._watch.cancel()
        cleaning = threading.Thread(target=self._llm.shutdown, kwargs={"timeout": 0}, daemon=True)
        cleaning.start()
        await asyncio.to_thread(cleaning.join, _SHUTDOWN_S)
        # The next engine needs the memory of this one.
        until = time.monotonic() + _SHUTDOWN_S
        while any(_alive(process) for process in self._family) and time.monotonic() < until:
            await asyncio.sleep(0.05)

    async def _look_after(self, looked: Callable[[], None]) -> None:
        while not self.ended:
            await asyncio.sleep(_LOOK_S)
            stalled = self._stall.look(now=time.monotonic(), open_draws=len(self._draws), steps=self._figures.steps)
            if self._llm.errored:
                self.end("its process died")
            elif stalled:
                self.end(f"it made no progress for {self._stall.after_s:g} s")
            looked()


async def _last(outputs: Any) -> Any:
    last = None
    async for output in outputs:
        last = output
    return last


def _start(args: dict[str, Any], figures: Figures) -> tuple[Any, list[psutil.Process]]:
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    before = set(multiprocessing.active_children())
    try:
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**args), stat_loggers=[recorder(figures)])
    except RuntimeError as error:
        if _was_killed(str(error)):
            raise Died(f"its process was killed while it started: {last_line(error)}") from error
        raise
    except TimeoutError as error:
        raise Died(f"it did not start: {last_line(error)}") from error
    return llm, _family([child for child in multiprocessing.active_children() if child not in before])


def _was_killed(said: str) -> bool:
    """Whether vLLM's message names a process that a signal ended, `Failed core proc(s): {'EngineCore': -9}`, or one
    that is gone before its exit was seen, `{}`; one that failed by itself has its exit code there."""
    return re.search(r"proc\(s\): \{(?:\}|[^}]*: -\d)", said) is not None


def _family(children: list[Any]) -> list[psutil.Process]:
    """The processes and their descendants, the youngest generation first."""
    family = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(child.pid)
            family += [*reversed(process.children(recursive=True)), process]
    return family


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_line(error: BaseException) -> str:
    """The last line of what an error says, pydantic's link to its manual aside."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "errors.pydantic.dev" not in line]
    return lines[-1][:300] if lines else type(error).__name__


def unusable(model: str, error: BaseException) -> Stop:
    """What a model that vLLM can't open means for the run."""
    return Stop(f"vLLM can't open {model}: {last_line(error)} (the engine's own log says more)")
