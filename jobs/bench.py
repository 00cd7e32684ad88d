"""The benchmarks: each runs ours and a peer side by side in this process, and writes the ratio to runs/bench/NAME.json.

teacher  calls/s of the teacher's client against the openai package's, streaming off one local stand-in
verify   verdicts/s on short math replies against math-verify called directly
pack     padding left by best-fit packing against first-come packing of the same lengths
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from cluster.standin import standin
from pipeline.ledger import Call, canonical
from pipeline.pack import best_fit
from pipeline.standin.settings import StandinSettings
from pipeline.store import Store
from pipeline.teacher import Teacher, TeacherSettings
from pipeline.verify import Submission, Verifier, VerifySettings

_CALLS, _IN_FLIGHT = 3000, 64
_QUESTION = 'How many times does the letter "a" appear in the text: "banana"?'


@dataclass(frozen=True, slots=True)
class Result:
    """One figure against its peer's; `ratio` is ours / peer, or peer / ours where less is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    goal: float


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="which; none means all")
    store = Store("runs/bench")
    results = []
    for name in parser.parse_args().names or BENCHES:
        result = BENCHES[name]()
        store.write_json(f"{name}.json", asdict(result))
        results.append(result)
    _show(results)
    if any(result.ratio < result.goal for result in results):
        sys.exit("a ratio is below its goal")


def teacher() -> Result:
    """Streamed chat completions a second through one process."""
    with standin(StandinSettings(), host="127.0.0.1") as base_url:
        ours = _CALLS / asyncio.run(_our_calls(base_url))
        peer = _CALLS / 4 / asyncio.run(_openai_calls(base_url, _CALLS // 4))
    return Result("teacher", ours, peer, "openai AsyncOpenAI", "streamed calls/s", ours / peer, goal=2.0)


def verify() -> Result:
    """Verdicts a second on replies whose answer is a number, as most are."""
    rng = random.Random(1)
    replies = [(str(n), f"So it comes to \\boxed{{{n + rng.choice((0, 1))}}}.") for n in range(2000)]
    with Verifier(VerifySettings()) as verifier:
        submissions = [Submission("math", gold, reply, "stop") for gold, reply in replies]
        ours = _per_second(lambda: [v.verdict == "correct" for v in verifier.verify(submissions)], len(replies))
    peer = _per_second(lambda: [_math_verify(gold, reply) for gold, reply in replies], len(replies))
    assert ours[1] == peer[1], "ours and math-verify disagree on plain integers"
    return Result("verify", ours[0], peer[0], "math-verify", "verdicts/s", ours[0] / peer[0], goal=2.0)


def pack() -> Result:
    """Positions lost to padding, for 20,000 thoughts of lognormal length in windows of 32,768 tokens."""
    rng = random.Random(1)
    window = 32768
    lengths = [min(window, max(50, round(rng.lognormvariate(8.5, 0.9)))) for _ in range(20_000)]
    ours = 1 - sum(lengths) / (len(best_fit(lengths, window=window)) * window)
    peer = 1 - sum(lengths) / (_first_come(lengths, window) * window)
    return Result("pack", ours, peer, "first-come packing", "share of padding", peer / max(ours, 1e-9), goal=5.0)


BENCHES: dict[str, Callable[[], Result]] = {"teacher": teacher, "verify": verify, "pack": pack}


async def _our_calls(base_url: str) -> float:
    settings = TeacherSettings(model="stand-in", base_url=base_url)
    messages, sampling = (
        canonical([{"role": "user", "content": _QUESTION}]),
        '{"temperature":1,"top_p":1,"max_tokens":99}',
    )
    slots = asyncio.Semaphore(_IN_FLIGHT)
    async with Teacher(settings, base_url) as client:

        async def one(draw: int) -> None:
            async with slots:
                call = Call(str(draw), "p", "bench", client.identity, draw, draw, messages, sampling)
                assert (await client.answer(call)).thought

        started = time.perf_counter()
        await asyncio.gather(*(one(draw) for draw in range(_CALLS)))
        return time.perf_counter() - started


async def _openai_calls(base_url: str, calls: int) -> float:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="none")
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(draw: int) -> None:
        async with slots:
            answer = await client.chat.completions.create(
                model="stand-in",
                messages=[{"role": "user", "content": _QUESTION}],
                seed=draw,
                stream=True,
                stream_options={"include_usage": True},
            )
            assert [chunk async for chunk in answer]

    started = time.perf_counter()
    await asyncio.gather(*(one(draw) for draw in range(calls)))
    return time.perf_counter() - started


def _math_verify(gold: str, reply: str) -> bool:
    import math_verify

    return bool(math_verify.verify(math_verify.parse(f"\\boxed{{{gold}}}"), math_verify.parse(reply)))


def _per_second(work: Callable[[], list[bool]], rows: int) -> tuple[float, list[bool]]:
    work()
    started = time.perf_counter()
    given = work()
    return rows / (time.perf_counter() - started), given


def _first_come(lengths: list[int], window: int) -> int:
    windows, used = 1, 0
    for length in lengths:
        if used + length > window:
            windows, used = windows + 1, 0
        used += length
    return windows


def _show(results: list[Result]) -> None:
    table = Table("benchmark", "ours", "peer", "ratio", "goal", "unit", box=None, pad_edge=False)
    for result in results:
        figures = (f"{result.ours:,.4g}", f"{result.peer:,.4g} ({result.peer_name})", f"{result.ratio:,.2f}")
        table.add_row(result.name, *figures, f"{result.goal:g}", result.unit)
    Console().print(table)
    print(f"written to {Path('runs/bench').absolute()}: {orjson.dumps([result.name for result in results]).decode()}")


if __name__ == "__main__":
    main()
