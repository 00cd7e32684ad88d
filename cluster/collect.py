"""An actor that turns a part's problems and ledger into its verified traces, and writes them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cluster.asks import Ask, Judging, read_kept
from cluster.progress import Meter
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts, count_traces, count_unasked
from pipeline.judge_process import KILLED
from pipeline.ledger import Entry, Ledger
from pipeline.llm_judge import judged
from pipeline.record import Trace, to_table
from pipeline.store import Store
from pipeline.trace import traces_of, verified
from pipeline.verify import Verifier, VerifySettings

UNFINISHED = "unfinished"


class Collect:
    """Part in, its counts out. A part that lacks answers has what was bought written beside the finished ones."""

    def __init__(
        self,
        store: Store,
        asks: Sequence[Ask],
        judging: Judging | None,
        verify: VerifySettings,
        invocation: str,
        board: Any,
    ) -> None:
        self._store = store
        self._asks = asks
        self._judging = judging
        self._invocation = invocation
        self._verifier = Verifier(verify)
        self._meter = Meter(board)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One part in; its counts out."""
        row = {name: values[0] for name, values in batch.items()}
        counts = TraceCounts()
        try:
            counts = self._collect(row)
        except Stop as stop:
            row["stop"] = row["stop"] or str(stop)
        self._meter.flush()
        return {name: [row[name]] for name in ("stop", "unfinished")} | {"counts": [counts]}

    def _collect(self, row: dict[str, Any]) -> TraceCounts:
        ledger = Ledger(self._store, row["ledger"])
        entries = ledger.read()
        made = {suffix: list(found) for suffix, found in self._made(row["problems"], entries)}
        files = {
            _apart(row["traces"], suffix): verified([trace for trace in found if trace is not None], self._verifier)
            for suffix, found in made.items()
        }
        missing = sum(trace is None for found in made.values() for trace in found)
        if self._judging is not None:
            missing += self._judge(files, entries)
        if not row["stop"] and missing:
            row["unfinished"] = row["unfinished"] or f"{missing} calls have no answer in the ledger"
        if row["stop"] or row["unfinished"]:
            for name, traces in files.items():
                self._store.write_table(_beside(name), to_table(traces, Trace))
        else:
            self._finish(files, ledger)
        traces = [trace for found in files.values() for trace in found]
        counts = count_traces(traces, entries, invocation=self._invocation, failed=ledger.failed)
        counts.torn_files = len(ledger.torn)
        asked = [(ask.generation, ask.template) for ask in self._asks]
        counts.unasked = count_unasked(read_kept(self._store, row["problems"]), asked)
        rows = {f"rows/{name}": count for name, count in (counts.verdicts + counts.dropped).items()}
        killed = sum((trace.why or "").startswith(KILLED) for trace in traces)
        self._meter.add({**rows, "verifier_kills": killed})
        return counts

    def _judge(self, files: dict[str, list[Trace]], entries: dict[str, Entry]) -> int:
        """Put what the judge said into the traces, in place; returns how many judgements the ledger lacks."""
        assert self._judging is not None
        missing, paid = 0, set[str]()
        for traces in files.values():
            for at, trace in enumerate(traces):
                calls = self._judging.calls(trace)
                held = [entries[call.key] for call in calls if call.key in entries]
                missing += len(calls) - len(held)
                if held and len(held) == len(calls):
                    bill = sum(entry.cost_usd + entry.unsure_usd for entry in held if entry.key not in paid)
                    traces[at] = replace(judged(trace, held, asks=self._judging.asks), judge_usd=bill)
                    paid.update(entry.key for entry in held)
        return missing

    def _finish(self, files: dict[str, list[Trace]], ledger: Ledger) -> None:
        # The traces come last: once they are there nobody looks at this shard again, so nothing may be left to do.
        ledger.merge()
        for name in files:
            self._store.delete(_beside(name))
        for name, traces in files.items():
            self._store.write_table(name, to_table(traces, Trace))
        self._meter.add({"parts_done": 1})

    def _made(self, problems: str, entries: dict[str, Entry]) -> Iterator[tuple[str, list[Trace | None]]]:
        """The unverified traces by their asks' suffix."""
        kept = read_kept(self._store, problems)
        for suffix in dict.fromkeys(ask.suffix for ask in self._asks):
            asks = [ask for ask in self._asks if ask.suffix == suffix]
            yield (
                suffix,
                [
                    trace
                    for problem in kept
                    for ask in asks
                    for trace in traces_of(problem, ask.calls(problem), entries, ask.generation.truncated)
                ],
            )


def _apart(name: str, suffix: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}{suffix}/{file}"


def _beside(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{UNFINISHED}/{file}"
