"""Run programs that nobody trusts: no network, nothing of the machine to see or to write, limits on all they use.

What it holds, by the kernel's own means (namespaces, rlimits, capabilities, seccomp; no daemon, no root needed):
- no network and no sockets, but for pairs within one program; no signals to, and no sight of, any process outside;
- a root of its own: the interpreter and the system's libraries read-only, five harmless devices, an empty environment;
  no home folder, no checkout, no credentials; writing only in /tmp, a scratch folder in memory, new for every run;
- CPU and wall seconds, memory, processes and threads, open files, bytes written and bytes put out are all bounded, and
  every process that a program started is gone before its result is given back;
- no capabilities, no way to new ones, and none of the system calls that most holes in kernels were found in.

What it does not stop:
- a hole in the kernel, in the hardware (side channels included) or in the interpreter's own start;
- use of what it allows: CPU up to its limits, heat, the caches and the memory bandwidth that others feel; where the
  kernel grants no /proc of its own, memory and CPU are bounded for each process, not for all of a program together;
- looking at what is readable: the system's libraries, the interpreter's folder, the kernel's version, the clock;
- a program noticing that it is in a sandbox, and behaving well for that reason;
- on machines that are neither x86_64 nor aarch64 the filter of system calls is left out; the rest holds.
"""

import contextlib
import math
import os
import selectors
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field

from pipeline.programs.seccomp import seccomp_filter
from pipeline.settings import Settings

Reason = Literal["ok", "exit", "time", "cpu", "memory", "output", "processes", "no_sandbox"]

_ROOT = Path(__file__).resolve().parent.parent.parent
# At the end of the path: a file of this project must never stand before one of the standard library.
_INSIDE = f"import sys; sys.path.append({str(_ROOT)!r}); from pipeline.programs.sandbox_inside import main; main()"
_NOT_STARTED, _START_S, _GRACE_S, _END_S = 113, 30.0, 15.0, 2.0
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")


class SandboxSettings(Settings):
    """What a sandboxed program may use, each of its runs anew (`total_s`: all of them together)."""

    cpu_s: float = Field(default=10.0, gt=0)
    """CPU seconds of all its processes together."""
    wall_s: float = Field(default=30.0, gt=0)
    """Seconds by the clock."""
    total_s: float = Field(default=120.0, gt=0)
    """Seconds by the clock that all tests of one reply may take together; beyond it the reply is undecided."""
    memory_mb: int = Field(default=1024, gt=0)
    """MiB of address space of each process, and of resident memory of all together."""
    processes: int = Field(default=32, gt=0)
    """Processes and threads at one time."""
    files: int = Field(default=64, gt=8)
    """Open files of each process."""
    scratch_mb: int = Field(default=64, gt=0)
    """MiB that it can write to files, all together."""
    output_kb: int = Field(default=16384, gt=0)
    """KiB that it can write to its output, and as much to its errors."""
    readable: tuple[str, ...] = ()
    """Further folders of the machine that programs can read, beside the interpreter and the system's libraries."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a program gave.

    `reason` is ok (it ended with 0), exit (with another `exit_code`; negative: killed by that signal), the limit that
    it passed, or no_sandbox: it never ran, and `stderr` says why. Outputs are cut at their limit; `result` is what it
    wrote to descriptor 3.
    """

    reason: Reason
    exit_code: int | None
    stdout: str
    stderr: str
    result: str
    seconds: float
    cpu_seconds: float


class Sandbox:
    """A sandbox for any number of programs, one after the other; close it or use it in `with`.

    It belongs to the thread that made it, and ends with it. A process that can't be shut away runs nothing: every run
    is then `no_sandbox`.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._process = subprocess.Popen(
            [_interpreter(), "-I", "-S", "-B", "-c", _INSIDE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        self.problem: str | None = self._start()
        """Why nothing can be run here; None when all is well."""

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, program: str, *, stdin: str = "", within_s: float = math.inf) -> Run:
        """A Python program's run on `stdin`. It sees the standard library only, and is called program.py.

        `within_s` are seconds by the clock that end it before the settings' `wall_s` would.
        """
        if self.problem is not None:
            return _not_run(self.problem)
        began, wall_s = time.monotonic(), max(0.0, min(self._settings.wall_s, within_s))
        try:
            self._send(program.encode(errors="replace"), stdin.encode(errors="replace"), orjson.dumps(wall_s))
            until = time.monotonic() + wall_s + _GRACE_S
            report, *outputs = (self._receive(until) for _ in range(4))
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            self.problem = f"the sandbox ended: {error or type(error).__name__}"
            return _not_run(self.problem, seconds=time.monotonic() - began)
        stdout, stderr, result = (output.decode(errors="replace") for output in outputs)
        return _run(orjson.loads(report), stdout, stderr, result, self._settings)

    def close(self) -> None:
        """End the sandbox and whatever still runs in it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            # It ends by itself when nobody can ask any more, and then leaves no zombie to whoever adopts it.
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            # The end of its outermost process ends process 1 of the namespace, and the kernel then ends all in it.
            self._process.kill()
            self._process.wait()

    def _start(self) -> str | None:
        try:
            self._send(orjson.dumps(_setup(self._settings)))
            problem: str | None = orjson.loads(self._receive(time.monotonic() + _START_S))
        except (OSError, EOFError, TimeoutError) as error:
            problem = f"the process that should shut itself away ended: {error or type(error).__name__}"
        if problem is not None:
            self.close()
        return problem

    def _send(self, *frames: bytes) -> None:
        assert self._process.stdin is not None
        for frame in frames:
            self._process.stdin.write(struct.pack(">I", len(frame)) + frame)
        self._process.stdin.flush()

    def _receive(self, until: float) -> bytes:
        (length,) = struct.unpack(">I", self._exactly(4, until))
        return self._exactly(length, until)

    def _exactly(self, length: int, until: float) -> bytes:
        assert self._process.stdout is not None
        pipe, data = self._process.stdout.fileno(), bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, selectors.EVENT_READ)
            while len(data) < length:
                if not ready.select(until - time.monotonic()):
                    raise TimeoutError("no answer in time")
                block = os.read(pipe, min(length - len(data), 1 << 20))
                if not block:
                    raise EOFError("it closed its pipe")
                data += block
        return bytes(data)


def run_python(program: str, settings: SandboxSettings, *, stdin: str = "") -> Run:
    """One Python program's run in a sandbox of its own."""
    with Sandbox(settings) as sandbox:
        return sandbox.run(program, stdin=stdin)


def _run(report: dict[str, Any], stdout: str, stderr: str, result: str, settings: SandboxSettings) -> Run:
    limit, code = settings.output_kb * 1024, report["exit_code"]
    last_error = stderr.rstrip().rpartition("\n")[2]
    reason: Reason = "exit" if code else "ok"
    if report["reason"] is not None:
        reason = report["reason"]
    elif code == _NOT_STARTED and last_error.startswith("the sandbox could not start"):
        reason = "no_sandbox"
    elif code and report["cpu_seconds"] >= settings.cpu_s:
        reason = "cpu"
    elif code and last_error.startswith("MemoryError"):
        reason = "memory"
    elif code and last_error.endswith(("can't start new thread", "Resource temporarily unavailable")):
        reason = "processes"
    outputs = (stdout[:limit], stderr[:limit], result[:limit])
    return Run(reason, code, *outputs, seconds=report["seconds"], cpu_seconds=report["cpu_seconds"])


def _not_run(why: str, *, seconds: float = 0.0) -> Run:
    return Run("no_sandbox", None, "", why, "", seconds=seconds, cpu_seconds=0.0)


def _setup(settings: SandboxSettings) -> dict[str, Any]:
    limits = {
        "cpu_s": settings.cpu_s,
        "memory_bytes": settings.memory_mb * 2**20,
        "processes": settings.processes,
        "files": settings.files,
        "scratch_bytes": settings.scratch_mb * 2**20,
        "output_bytes": settings.output_kb * 1024,
    }
    readable = _outermost([str(Path(sys.base_prefix).resolve()), *_LIBRARIES, *settings.readable])
    return {"limits": limits, "python": _interpreter(), "seccomp": seccomp_filter().hex(), "readable": readable}


def _interpreter() -> str:
    """The interpreter itself, not the one of a virtual environment: it needs no folder but its own."""
    return os.path.realpath(sys.executable)


def _outermost(paths: list[str]) -> list[str]:
    return [
        path
        for number, path in enumerate(paths)
        if path not in paths[:number] and not any(path.startswith(other.rstrip("/") + "/") for other in paths)
    ]
