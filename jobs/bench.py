"""The benchmarks: each runs ours and a peer side by side, and writes the ratio to runs/bench/NAME.json.

teacher  calls/s of the teacher's client against the openai package's, streaming off one local stand-in
http     slow calls against what their latencies allow and ray.data.llm, quick ones against a bare aiohttp loop
stream   events/s of long streamed replies against the openai package's, and memory while they come
errors   slow calls through 429s and 500s against what the latency allows, and two callers under one rate limit
verify   verdicts/s on one core against math-verify called directly: recorded replies, and answers behind long thoughts
engine   tokens/s of 256 uneven draws through buy, engine and ledger against vLLM's LLM.generate with all at once
pack     padding left by best-fit packing against first-come packing, and texts to files of windows against TRL
decontaminate  rows/s of 200,000 problems against 1,500 held-out ones, through Ray, against datatrove's n-gram filter
dedup    rows/s of near-duplicate removal through Ray against datatrove's MinHash dedup, with the recall of both
train_trl  real tokens/s of the training loop, ZeRO-3 on one rank, against TRL's SFTTrainer with packing (*)
train_ray  real tokens/s of two ranks under Ray Train against the same loop under torchrun (*)
train_gpu  tokens/s, MFU and peak memory of windows of 4k, 16k and 32k tokens, where there is a GPU (*)
dedup_memory  largest process of dedup at a million rows against 200,000 (*)
scale    memory and time of 200,000 calls against 20,000 through jobs.distill (*)
nodes    calls/s on two and four nodes against one, one caller each, through jobs.distill (*)
nodes_full  the same on four nodes with ever more calls at once, until the cores run out (*)
thousand what one process keeps of a run with 1,000 callers and 100,000 shards, measured at smaller sizes (*)

(*) takes minutes, so only when it is named
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from jobs.benches.decontaminate import decontaminate
from jobs.benches.dedup import dedup, dedup_memory
from jobs.benches.engine import engine
from jobs.benches.errors import errors
from jobs.benches.http import http
from jobs.benches.nodes import nodes, nodes_full
from jobs.benches.pack import pack
from jobs.benches.result import Result
from jobs.benches.scale import scale
from jobs.benches.stream import stream
from jobs.benches.teacher import teacher
from jobs.benches.thousand import thousand
from jobs.benches.train import train_ray, train_trl
from jobs.benches.train_gpu import train_gpu
from jobs.benches.verify import verify
from pipeline.store import Store

Bench = Callable[[], Result | Sequence[Result]]
BENCHES: dict[str, Bench] = {
    "teacher": teacher,
    "http": http,
    "stream": stream,
    "errors": errors,
    "verify": verify,
    "engine": engine,
    "pack": pack,
    "decontaminate": decontaminate,
    "dedup": dedup,
}
LONG: dict[str, Bench] = {
    "scale": scale,
    "nodes": nodes,
    "nodes_full": nodes_full,
    "thousand": thousand,
    "dedup_memory": dedup_memory,
    "train_trl": train_trl,
    "train_ray": train_ray,
    "train_gpu": train_gpu,
}


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", choices=[[], *BENCHES, *LONG], help="which; none means all but the long ones"
    )
    store = Store("runs/bench")
    results: list[Result] = []
    for name in parser.parse_args().names or BENCHES:
        made = {**BENCHES, **LONG}[name]()
        for result in [made] if isinstance(made, Result) else made:
            store.write_json(f"{result.name}.json", asdict(result))
            results.append(result)
    _show(results)
    if any(result.ratio < result.goal for result in results):
        sys.exit("a ratio is below its goal")


def _show(results: list[Result]) -> None:
    table = Table("benchmark", "ours", "peer", "ratio", "goal", "unit", box=None, pad_edge=False)
    for result in results:
        figures = (f"{result.ours:,.4g}", f"{result.peer:,.4g} ({result.peer_name})", f"{result.ratio:,.2f}")
        table.add_row(result.name, *figures, f"{result.goal:g}", result.unit)
    Console().print(table)
    print(f"written to {Path('runs/bench').absolute()}: {orjson.dumps([result.name for result in results]).decode()}")


if __name__ == "__main__":
    main()
