"""Processes of this machine that judge chunks side by side; killed with all their children when the work breaks off."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection

import psutil

from pipeline.errors import Stop
from pipeline.foreign.reply_files import Chunk
from pipeline.foreign.scorer import Scored, Scorer, ScoreSettings

_LAST_WORDS_S = 30


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Processes:
    """Workers that are processes of their own; use it in `with`."""

    def __init__(self, settings: ScoreSettings, count: int) -> None:
        self._all = [_Process(settings) for _ in range(count)]
        # Last in, first out: a small file starts few of them.
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._starting, self._ended = threading.Lock(), False
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
            with self._starting:
                if self._ended:
                    raise Stop("the scoring processes were ended")
                process.start()
            return process.ask(chunk)
        finally:
            self._idle.put(process)

    def kill(self) -> None:
        """End all processes and what they started."""
        with self._starting:
            self._ended = True
            for process in self._all:
                process.kill()


class _Process:
    def __init__(self, settings: ScoreSettings) -> None:
        # Not forked: Arrow's threads would not be there in the child.
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, settings), name="score")

    def start(self) -> None:
        if self._process.pid is None:
            self._process.start()
            # Only the child has it from now on, so that its death is an end of file.
            self._theirs.close()

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
        if self._process.pid is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.kill()

    def close(self) -> None:
        self._pipe.close()
        self._theirs.close()
        if self._process.pid is None:
            return
        self._process.join(_LAST_WORDS_S)
        if self._process.is_alive():
            self.kill()
            self._process.join()


def _serve(pipe: Connection, settings: ScoreSettings) -> None:
    """Judge what comes until the other end closes, as it does too when its process is killed."""
    # Ctrl-C reaches the whole group; the parent ends us when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Scorer(settings) as scorer, contextlib.suppress(EOFError, ConnectionError):
        while True:
            chunk = pipe.recv()
            try:
                said: Scored | Stop = scorer.score(chunk)
            except Stop as stop:
                said = stop
            pipe.send(said)
