"""What became of the rows: the counts that every summary is made of, for a shard or for a run."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.generate import Generation, lacks_solution
from pipeline.ledger import Entry
from pipeline.llm_judge import agreement, compared
from pipeline.record import Problem, Trace


@dataclass
class ProblemCounts:
    """Rows of curated problems."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    kept_of: Counter[str] = field(default_factory=Counter)
    """Source -> rows that are kept."""

    def add(self, other: "ProblemCounts") -> None:
        """Count another shard in."""
        self.kept += other.kept
        self.dropped += other.dropped
        self.sources += other.sources
        self.kept_of += other.kept_of

    def as_json(self) -> dict[str, object]:
        """The keys of summary/curate.json."""
        return {
            "in": self.kept + self.dropped.total(),
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "sources": dict(sorted(self.sources.items())),
            "kept_of": {name: self.kept_of[name] for name in sorted(self.sources)},
        }


@dataclass
class TraceCounts:
    """Traces and the calls behind them; `cost_usd` is what this command spent, `cost_total_usd` what they cost in all,
    answers without a usage block and requests that broke off at the most that they can have cost. `torn_files` of the
    ledger could not be read.

    `bought` + `reused` + `failed` is the number of calls wanted: an answer that was there already is reused, one that
    was refused for good is failed.
    """

    problems: int = 0
    traces: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost_usd: float = 0.0
    cost_total_usd: float = 0.0
    torn_files: int = 0
    judged: int = 0
    unasked: Counter[str] = field(default_factory=Counter)
    """Generation -> problems that it could not ask, as its prompt shows a solution and they have none."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(verifier's verdict, LLM judge's verdict) where each came to one without the other."""

    def add(self, other: "TraceCounts") -> None:
        """Count another shard in."""
        self.problems += other.problems
        self.traces += other.traces
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)
        self.cost_usd += other.cost_usd
        self.cost_total_usd += other.cost_total_usd
        self.torn_files += other.torn_files
        self.judged += other.judged
        self.pairs.update(other.pairs)

    def as_json(self) -> dict[str, object]:
        """The keys of summary/distill.json, but for seconds."""
        return {
            "problems": self.problems,
            "traces": self.traces,
            "verdicts": {name: self.verdicts[name] for name in ("correct", "wrong", "undecided")},
            "dropped": dict(sorted(self.dropped.items())),
            "calls": {name: self.calls[name] for name in ("bought", "reused", "retried", "failed")},
            "tokens": {name: self.tokens[name] for name in ("prompt", "thought", "reply")},
            "cost_usd": self.cost_usd,
            "cost_total_usd": self.cost_total_usd,
            "torn_files": self.torn_files,
            **({"no_solution": dict(sorted(self.unasked.items()))} if self.unasked else {}),
            **({"judge": {"judged": self.judged, **agreement(self.pairs)}} if self.judged else {}),
        }

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.verdicts, self.dropped, self.calls, self.tokens, self.unasked


def count_problems(table: pa.Table) -> ProblemCounts:
    """The counts of one shard of problems, from its columns source and drop."""
    drops, sources = table["drop"].to_pylist(), table["source"].to_pylist()
    dropped = Counter(drops)
    kept = dropped.pop(None, 0)
    kept_of = Counter(source for source, drop in zip(sources, drops, strict=True) if drop is None)
    return ProblemCounts(kept=kept, dropped=dropped, sources=Counter(sources), kept_of=kept_of)


def count_traces(
    traces: Collection[Trace], entries: dict[str, Entry], *, invocation: str, failed: Iterable[Entry] = ()
) -> TraceCounts:
    """The counts of one shard of traces; `entries` may be empty when the shard was finished by an earlier command.

    `failed` are calls that found no answer: they too may have cost something.
    """
    counts = TraceCounts(problems=len({trace.id for trace in traces}), traces=len(traces))
    for trace in traces:
        entry = entries.get(trace.ledger_key)
        new = entry is not None and entry.invocation == invocation
        counts.calls["failed" if trace.drop else "bought" if new else "reused"] += 1
        counts.cost_total_usd += trace.cost_usd + trace.judge_usd
        counts.judged += trace.judged is not None
        if (pair := compared(trace)) is not None:
            counts.pairs[pair] += 1
        counts.tokens.update(prompt=trace.prompt_tokens, thought=trace.thought_tokens, reply=trace.reply_tokens)
        if trace.drop is not None:
            counts.dropped[trace.drop] += 1
        elif trace.verdict is not None:
            counts.verdicts[trace.verdict] += 1
    for entry in (*entries.values(), *failed):
        if entry.invocation == invocation:
            counts.calls["retried"] += entry.attempts - 1
            counts.cost_usd += entry.cost_usd + entry.unsure_usd
    counts.cost_total_usd += sum(entry.cost_usd + entry.unsure_usd for entry in failed)
    return counts


def count_unasked(problems: Sequence[Problem], asked: Iterable[tuple[Generation, str]]) -> Counter[str]:
    """Generation -> how many of these problems have no solution that its template could show."""
    return Counter(
        generation.name
        for generation, template in asked
        for problem in problems
        if lacks_solution(problem, generation, template=template)
    )
