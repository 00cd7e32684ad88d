"""Processes of this machine that judge chunks side by side; killed with all their children when the work breaks off."""

import contextlib
import multiprocessing
import os
import queue
import signal
from multiprocessing.connection import Connection

import psutil

from pipeline.errors import Stop
from pipeline.reply_files import Chunk
from pipeline.scorer import Scored, Scorer, ScoreSettings

_LAST_WORDS_S = 30


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Processes:
    """Workers that are processes of their own; use it in `with`."""

    def __init__(self, settings: ScoreSettings, count: int) -> None:
        self._all = [_Process(settings) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
        for process in self._all:
            process.close()

    @property
    def count(self) -> int:
        """How many processes there are."""
        return len(self._all)

    def ask(self, chunk: Chunk) -> Scored:
        """Judge one chunk in a process that is idle. Raises Stop when the process dies of it."""
        process = self._idle.get()
        try:
            return process.ask(chunk)
        finally:
            self._idle.put(process)

    def kill(self) -> None:
        """End all processes and what they started."""
        for process in self._all:
            process.kill()


class _Process:
    def __init__(self, settings: ScoreSettings) -> None:
        # Not forked: Arrow's threads would not be there in the child.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings), name="score")
        self._process.start()
        theirs.close()

    def ask(self, chunk: Chunk) -> Scored:
        try:
            self._pipe.send(chunk)
            said = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise Stop(
                f"a scoring process died at rows {chunk.first + 1} ff. of {chunk.path} (out of memory?)"
            ) from error
        if isinstance(said, Stop):
            raise said
        assert isinstance(said, Scored)
        return said

    def kill(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.kill()

    def close(self) -> None:
        self._pipe.close()
        self._process.join(_LAST_WORDS_S)
        if self._process.is_alive():
            self.kill()
            self._process.join()


def _serve(pipe: Connection, settings: ScoreSettings) -> None:
    """Judge what comes until the other end closes, as it does too when its process is killed."""
    # Ctrl-C reaches the whole group; the parent ends us when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Scorer(settings) as scorer, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            chunk = pipe.recv()
            try:
                said: Scored | Stop = scorer.score(chunk)
            except Stop as stop:
                said = stop
            pipe.send(said)
