"""An actor that turns a part's problems and ledger into its verified traces, and writes them."""

from collections.abc import Iterator, Sequence
from typing import Any

from cluster.asks import Ask, read_kept
from cluster.progress import Meter
from pipeline.errors import Stop
from pipeline.funnel import TraceCounts, count_traces
from pipeline.ledger import Entry, Ledger
from pipeline.record import Trace, to_table
from pipeline.store import Store
from pipeline.trace import traces_of, verified
from pipeline.verify import Verifier, VerifySettings

UNFINISHED = "unfinished"


class Collect:
    """Part in, its counts out. A part that lacks answers has what was bought written beside the finished ones."""

    def __init__(self, store: Store, asks: Sequence[Ask], verify: VerifySettings, invocation: str, board: Any) -> None:
        self._store = store
        self._asks = asks
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
        made = list(self._traces(row["problems"], entries))
        traces = verified([trace for trace in made if trace is not None], self._verifier)
        if not row["stop"] and len(traces) < len(made):
            row["unfinished"] = row["unfinished"] or f"{len(made) - len(traces)} calls have no answer in the ledger"
        if row["stop"] or row["unfinished"]:
            self._store.write_table(_beside(row["traces"]), to_table(traces, Trace))
        else:
            self._finish(row["traces"], traces, ledger)
        counts = count_traces(traces, entries, invocation=self._invocation, failed=ledger.failed)
        counts.torn_files = len(ledger.torn)
        self._meter.add(traces=len(traces), correct=counts.verdicts["correct"])
        return counts

    def _finish(self, name: str, traces: list[Trace], ledger: Ledger) -> None:
        # The traces come last: once they are there nobody looks at this shard again, so nothing may be left to do.
        ledger.merge()
        self._store.delete(_beside(name))
        self._store.write_table(name, to_table(traces, Trace))
        self._meter.add(parts=1)

    def _traces(self, problems: str, entries: dict[str, Entry]) -> Iterator[Trace | None]:
        for problem in read_kept(self._store, problems):
            for ask in self._asks:
                yield from traces_of(problem, ask.calls(problem), entries, ask.generation.truncated)


def _beside(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{UNFINISHED}/{file}"
