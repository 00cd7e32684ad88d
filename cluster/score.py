"""Actors that judge chunks of foreign replies, on every CPU of a cluster that is free."""

import queue
from concurrent.futures import Future
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.errors import Stop
from pipeline.foreign.reply_files import Chunk
from pipeline.foreign.scorer import Scored, Scorer, ScoreSettings

_RETRIES = 3


class Actors:
    """Workers that are Ray actors of one CPU each; use it in `with`. One that is not placed yet holds nobody up."""

    def __init__(self, settings: ScoreSettings, count: int | None) -> None:
        self.count = count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1, max_restarts=_RETRIES, max_task_retries=_RETRIES)(_Actor)
        self._all = [actor.remote(settings) for _ in range(self.count)]
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for one in self._all:
            one.ready.remote().future().add_done_callback(lambda future, one=one: self._placed(one, future))

    def __enter__(self) -> "Actors":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, chunk: Chunk) -> Scored:
        """Judge one chunk in an actor that is idle. Raises Stop when there can be none."""
        actor = self._idle.get()
        try:
            if isinstance(actor, Stop):
                raise actor
            said = ray.get(actor.score.remote(chunk))
        except RayError as error:
            raise Stop(f"rows {chunk.first + 1} ff. of {chunk.path}: {_last_line(error)}") from error
        finally:
            self._idle.put(actor)
        if isinstance(said, Stop):
            raise said
        assert isinstance(said, Scored)
        return said

    def kill(self) -> None:
        """End all actors."""
        for one in self._all:
            ray.kill(one)
        for _ in self._all:
            self._idle.put(Stop("the scoring actors were ended"))

    def _placed(self, actor: Any, future: "Future[Any]") -> None:
        error = future.exception()
        self._idle.put(actor if error is None else Stop(f"a scoring actor can't start: {_last_line(error)}"))


class _Actor:
    def __init__(self, settings: ScoreSettings) -> None:
        self._scorer = Scorer(settings)

    def ready(self) -> None:
        """Answer once there."""

    def score(self, chunk: Chunk) -> Scored | Stop:
        # A Stop travels as a value: raised in an actor it would reach the driver wrapped.
        try:
            return self._scorer.score(chunk)
        except Stop as stop:
            return stop


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
