"""A judge in a process of its own, as its caller sees it: ask, and within a known time there is an answer."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from pipeline.judge_process import WALL_FACTOR

_ROOT = Path(__file__).resolve().parent.parent
_GRACE_S = 10.0
_START_S = 120.0
# Votes may take ten times what a comparison may.
_MOST_TIMES = 10


class Judge:
    """One judge. It is started by its first question; a row that kills it is answered with undecided."""

    def __init__(self, *, cpu_s: float, memory_mb: int) -> None:
        self._cpu_s = cpu_s
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The judge's answer, or {"verdict": "undecided", "why"} when it found none within its limits."""
        process = self._process or self._start()
        try:
            return self._asked(process, question, within_s=self._cpu_s * WALL_FACTOR * _MOST_TIMES + _GRACE_S)
        except (BrokenPipeError, EOFError, TimeoutError):
            # The kernel's timers end a judge long before; this is for one that something else has stopped or ended.
            self.kill()
            return {"verdict": "undecided", "why": "the judge process died or hung"}

    def kill(self) -> None:
        """End the process and what it has forked."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipeline.judge_process", str(self._memory_mb), str(self._cpu_s)]
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._rest = b""
        try:
            # Importing sympy takes seconds on a busy machine and must not count against the first row.
            self._asked(self._process, {"ask": "same", "gold": "x", "found": "y"}, within_s=_START_S)
        except (BrokenPipeError, EOFError, TimeoutError) as error:
            self.kill()
            raise RuntimeError(f"no judge starts: run {' '.join(command[1:])} to see why") from error
        return self._process

    def _asked(self, process: subprocess.Popen[bytes], question: dict[str, Any], *, within_s: float) -> dict[str, Any]:
        assert process.stdin is not None
        until = time.monotonic() + within_s
        process.stdin.write(orjson.dumps(question) + b"\n")
        process.stdin.flush()
        while True:
            try:
                answer: dict[str, Any] = orjson.loads(self._line(process, until))
            except orjson.JSONDecodeError:
                # The beginning of an answer that the judge died on.
                continue
            return answer

    def _line(self, process: subprocess.Popen[bytes], until: float) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not ready.select(max(0.0, until - time.monotonic())):
                    raise TimeoutError
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    raise EOFError
                self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line
