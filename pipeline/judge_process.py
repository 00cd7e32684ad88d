"""The process that judges: it loads sympy once and forks a judge, and another one whenever a row kills that.

    python -m pipeline.judge_process MEMORY_MB CPU_S

Reads JSON lines {"ask": same|votes|gym, ...} and writes JSON lines {"verdict", "why"}. Limits are the kernel's: a timer
on CPU time and a longer one on the clock end the judge whatever it is busy with, an address space limit its memory. The
row that it died on gets its answer from here, so nobody waits for it, and it is not tried again.
"""

import os
import resource
import signal
import sys
from typing import Any

import orjson

WALL_FACTOR = 2.5
"""A judge may take this many times its CPU seconds on the clock: it shares its cores."""
KILLED = "the judge "
"""How every reason begins that a row has when it killed its judge."""
_FRESH_AFTER = 20_000
_REASONS = {
    signal.SIGPROF: "the judge ran past {cpu_s:g} s of CPU time",
    signal.SIGALRM: "the judge ran past {wall_s:g} s",
    signal.SIGKILL: "the judge was killed (out of memory?)",
    signal.SIGSEGV: "the judge crashed (out of memory, or nested too deeply)",
}


def main() -> None:
    """Keep a judge alive until standard input ends."""
    memory_mb, cpu_s = int(sys.argv[1]), float(sys.argv[2])
    _load()
    while True:
        child = os.fork()
        if child == 0:
            _serve(memory_mb, cpu_s)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return
        if os.WIFSIGNALED(status):
            reason = _REASONS.get(signal.Signals(os.WTERMSIG(status)), "the judge died of signal {signal}")
            why = reason.format(cpu_s=cpu_s, wall_s=cpu_s * WALL_FACTOR, signal=os.WTERMSIG(status))
            # What it had written of an answer ends with this line.
            _write(b"\n" + orjson.dumps({"verdict": "undecided", "why": why}) + b"\n")
        # Otherwise it asked to be replaced, between two rows.


def _load() -> None:
    """What is slow to import, before the first row's time runs."""
    import math_verify
    import mpmath
    import sympy

    import pipeline.maths.symbolic

    pipeline.maths.symbolic.judge("\\sqrt{2}+x", "x+2^{1/2}")
    del math_verify, mpmath, sympy


def _serve(memory_mb: int, cpu_s: float) -> None:
    limit = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A library that prints must not break the protocol.
    sys.stdout = sys.stderr
    for _ in range(_FRESH_AFTER):
        line = _read_line()
        if not line:
            return
        asked = orjson.loads(line)
        if asked["ask"] == "gym":
            # Slow to load and seldom needed; not a part of the row's time either.
            import reasoning_gym  # noqa: F401
        # Votes are many comparisons in one.
        times = 1 + min(9, len(asked.get("answers", ())) // 4)
        signal.setitimer(signal.ITIMER_PROF, cpu_s * times)
        signal.setitimer(signal.ITIMER_REAL, cpu_s * times * WALL_FACTOR)
        try:
            answer = _answer(asked)
        except MemoryError:
            answer = {"verdict": "undecided", "why": "out of memory"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(orjson.dumps(answer) + b"\n")
    # sympy's caches grow with every row.
    os._exit(3)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    from pipeline.gym import score_gym
    from pipeline.maths.symbolic import judge, votes

    if asked["ask"] == "votes":
        return {"votes": votes(asked["answers"])}
    if asked["ask"] == "gym":
        scored = score_gym(asked["gold"], asked["found"])
        return {"verdict": scored.verdict, "why": scored.why}
    verdict, why = judge(asked["gold"], asked["found"])
    return {"verdict": verdict, "why": why}


def _read_line() -> bytes:
    """One line and not a byte more: what comes after it belongs to the judge that follows if this one dies."""
    parts = []
    while True:
        part = os.read(0, 1 << 16)
        parts.append(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)


def _write(line: bytes) -> None:
    while line:
        line = line[os.write(1, line) :]


if __name__ == "__main__":
    main()
