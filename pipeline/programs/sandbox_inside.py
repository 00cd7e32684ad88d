"""The inside of the sandbox: a process that shuts itself away and then runs programs, one after the other.

Started by `sandbox` on the bare interpreter: only the standard library, so that it starts in milliseconds.
It reads frames from standard input and writes frames to standard output. The first frame is the setup; every three
after it (a program, its input, its seconds by the clock) ask for one run, and a report with three outputs answers them.
It ends when its input does.

Its child is process 1 of the new process namespace: it builds the file system and supervises. Each program is a child
of that, in a mount namespace of its own; when the program ends, all that it started is killed.
"""

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import struct
import time
from typing import Any, BinaryIO

from pipeline.programs.sandbox_walls import (
    SCRATCH,
    build_root,
    die_with_parent,
    drop_rights,
    enter_namespaces,
    fresh_scratch,
    limit,
)

RESULT = 3
"""The descriptor on which a program may leave a result beside its output and its errors."""

_PROGRAM = 4
# No site packages, nothing imported from the scratch folder, nothing written beside what is imported.
_OPTIONS = ("-S", "-s", "-P", "-B", "-X", "utf8", "-c")
_ADD_SEALS, _ALL_SEALS = 1033, 15
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# The program comes as a descriptor: nothing has to be written, and no run sees another's program.
_BOOT = f"""
import builtins, sys, _sitebuiltins
builtins.exit, builtins.quit = _sitebuiltins.Quitter('exit', 'Ctrl-D'), _sitebuiltins.Quitter('quit', 'Ctrl-D')
with open({_PROGRAM}, 'rb') as program: program = program.read()
sys.argv = ['program.py']
del builtins, sys, _sitebuiltins
exec(compile(globals().pop('program'), 'program.py', 'exec'))
"""


def main() -> None:
    """Serve until standard input ends."""
    requests, replies = os.fdopen(_moved(0), "rb"), os.fdopen(_moved(1), "wb")
    for low in range(2, _PROGRAM + 1):
        # A program's descriptors are 0 to 4; nothing of the supervisor's may be there.
        _moved(low, keep=False)
    die_with_parent()
    setup = json.loads(read_frame(requests) or b"{}")
    try:
        enter_namespaces()
        child = os.fork()
        if child:
            requests.close()
            replies.close()
            os._exit(os.waitpid(child, 0)[1] != 0)
        die_with_parent()
        inside = _Inside(setup)
    except OSError as error:
        write_frame(replies, json.dumps(f"{error.filename or 'start'}: {error.strerror}").encode())
        os._exit(1)
    write_frame(replies, b"null")
    # Process 1 ignores signals without a handler; Python's own handler would turn this one into an exception.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while (program := read_frame(requests)) is not None:
        stdin, wall_s = read_frame(requests) or b"", float(read_frame(requests) or b"0")
        report, outputs = inside.run(program, stdin, wall_s, requests.fileno())
        for part in (json.dumps(report).encode(), *outputs):
            write_frame(replies, part)
    os._exit(0)


class _Inside:
    """Process 1: has all rights inside the namespaces (and none outside); every program gives them up."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._limits = setup["limits"]
        self._python = setup["python"]
        self._seccomp = bytes.fromhex(setup["seccomp"])
        self._proc = build_root(setup["readable"])

    def run(self, program: bytes, stdin: bytes, wall_s: float, requests: int) -> tuple[dict[str, Any], list[bytes]]:
        """One program from its start until all that it started is gone."""
        files = [_sealed(stdin), _sealed(program)]
        pipes = [os.pipe() for _ in range(3)]
        began, used_before = time.monotonic(), _cpu_of_the_dead()
        pid = os.fork()
        if not pid:
            self._become(files, [write for _, write in pipes])
        for descriptor in (*files, *(write for _, write in pipes)):
            os.close(descriptor)
        watch = _Watch(self._limits, [read for read, _ in pipes], self._proc, used_before)
        reason = watch.until_end(pid, wall_s, requests)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        status = _reap_all(pid)
        watch.drain()
        for read, _ in pipes:
            os.close(read)
        report = {
            "reason": reason or ("output" if watch.too_long() else None),
            "exit_code": os.waitstatus_to_exitcode(status),
            "seconds": time.monotonic() - began,
            "cpu_seconds": _cpu_of_the_dead() - used_before,
        }
        return report, [bytes(output) for output in watch.outputs]

    def _become(self, files: list[int], writes: list[int]) -> None:
        try:
            for target, source in enumerate((files[0], *writes, files[1])):
                os.dup2(source, target)
            limits = self._limits
            fresh_scratch(limits["scratch_bytes"])
            limit(
                memory_bytes=limits["memory_bytes"],
                cpu_s=limits["cpu_s"],
                processes=limits["processes"],
                files=limits["files"],
                scratch_bytes=limits["scratch_bytes"],
            )
            drop_rights(self._seccomp)
            # A fixed hash seed: the same program on the same input gives the same output.
            environment = {"PYTHONHASHSEED": "0", "HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8"}
            os.execve(self._python, [self._python, *_OPTIONS, _BOOT], environment)
        except BaseException as error:  # noqa: BLE001 whatever happens here, this child must not go on as a supervisor
            os.write(2, f"the sandbox could not start the program: {error}\n".encode())
        os._exit(NOT_STARTED)


NOT_STARTED = 113
"""The exit code of a child that could not become the program; its errors say why."""


class _Watch:
    """Reads what a program writes, and stops it at the first limit that it passes."""

    def __init__(self, limits: dict[str, Any], reads: list[int], proc: int | None, used_before: float) -> None:
        self.outputs = [bytearray() for _ in reads]
        self._limits, self._reads, self._proc, self._used_before = limits, reads, proc, used_before

    def until_end(self, pid: int, wall_s: float, requests: int) -> str | None:
        """The limit that was passed, or None when the program came to its own end."""
        until = time.monotonic() + wall_s
        ended, poll, wait_s = os.pidfd_open(pid), select.poll(), 0.005
        poll.register(ended, select.POLLIN)
        poll.register(requests, 0)
        for read in self._reads:
            os.set_blocking(read, False)
            poll.register(read, select.POLLIN)
        look_at = time.monotonic() + wait_s
        while True:
            events = {descriptor for descriptor, _ in poll.poll(1000 * wait_s)}
            if requests in events:
                # Whoever asked is gone: the end of process 1 is the end of all.
                os._exit(0)
            for read in events.intersection(self._reads):
                if not self._take(read):
                    poll.unregister(read)
            now = time.monotonic()
            if ended in events or self.too_long() or now >= until:
                os.close(ended)
                return None if ended in events else "output" if self.too_long() else "time"
            if now >= look_at:
                wait_s = min(2 * wait_s, 0.05)
                look_at = now + wait_s
                if reason := self._over():
                    os.close(ended)
                    return reason

    def drain(self) -> None:
        """What is left in the pipes, once nobody can write any more."""
        for read in self._reads:
            while not self.too_long() and self._take(read):
                pass

    def too_long(self) -> bool:
        """Whether one of the outputs has passed its limit."""
        return any(len(output) > self._limits["output_bytes"] for output in self.outputs)

    def _take(self, read: int) -> bool:
        try:
            block = os.read(read, 1 << 16)
        except BlockingIOError:
            return False
        self.outputs[self._reads.index(read)] += block
        return bool(block)

    def _over(self) -> str | None:
        """The limit that all processes together passed; each one alone is held by the kernel's limits."""
        if self._proc is None:
            return None
        memory_bytes, tasks, cpu_s = _use_of_the_living(self._proc)
        if tasks > self._limits["processes"]:
            return "processes"
        if memory_bytes > self._limits["memory_bytes"]:
            return "memory"
        return "cpu" if cpu_s + _cpu_of_the_dead() - self._used_before > self._limits["cpu_s"] else None


def _use_of_the_living(proc: int) -> tuple[int, int, float]:
    """Resident bytes, threads and CPU seconds of every process but the supervisor."""
    pages = tasks = ticks = 0
    for name in os.listdir(proc):
        if not name.isdigit() or name == "1":
            continue
        # A process may end while it is looked at.
        with contextlib.suppress(OSError), open(os.open(f"{name}/stat", os.O_RDONLY, dir_fd=proc)) as file:
            # The name of a process is its own to choose, brackets and spaces included.
            fields = file.read().rpartition(")")[2].split()
            ticks += sum(int(ticked) for ticked in fields[11:15])
            tasks += int(fields[17])
            pages += int(fields[21])
    return pages * _PAGE_BYTES, tasks, ticks * _TICK_S


def _cpu_of_the_dead() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap_all(wanted: int) -> int:
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.wait()
            status = ended if pid == wanted else status
    return status


def _sealed(data: bytes) -> int:
    """A file in memory that nobody can change any more."""
    file = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(file), "wb") as writing:
        writing.write(data)
    os.lseek(file, 0, os.SEEK_SET)
    fcntl.fcntl(file, _ADD_SEALS, _ALL_SEALS)
    return file


def _moved(descriptor: int, *, keep: bool = True) -> int:
    """The descriptor under a high number, with /dev/null left in its place."""
    kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20) if keep else -1
    null = os.open("/dev/null", os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor, inheritable=False)
        os.close(null)
    return kept


def read_frame(file: BinaryIO) -> bytes | None:
    """The next frame: four bytes of length, then as many bytes. None at the end."""
    head = file.read(4)
    return file.read(struct.unpack(">I", head)[0]) if len(head) == 4 else None


def write_frame(file: BinaryIO, data: bytes) -> None:
    """One frame, sent at once."""
    file.write(struct.pack(">I", len(data)) + data)
    file.flush()
