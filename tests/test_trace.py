"""From the ledger to traces and counts: one trace a call, and every call in the counts."""

import pytest
from rows import entry, problem, trace

from pipeline.funnel import ProblemCounts, TraceCounts, count_problems, count_traces
from pipeline.generate import Generation, Sampling, calls_for
from pipeline.ledger import Call, Entry
from pipeline.record import Problem, Trace, to_table
from pipeline.trace import traces_of, verified
from pipeline.truncated import Truncated
from pipeline.verify import Verifier, VerifySettings


def made(asked: Problem, calls: list[Call], entries: dict[str, Entry]) -> list[Trace]:
    return [one for one in traces_of(asked, calls, entries, Truncated()) if one is not None]


GENERATION = Generation(name="long", engine="teacher", draws=3, sampling=Sampling(max_tokens=100))


def test_a_trace_is_its_problem_its_call_and_its_answer() -> None:
    asked = problem(solution="Count.")
    calls = calls_for(asked, GENERATION, template="{prompt}", identity="m @ h", seeded=True, seed=1)
    entries = {call.key: entry(key=call.key, reply=f"\\boxed{{{call.draw}}}") for call in calls}
    traces = list(made(asked, calls, entries))
    assert [(one.draw, one.reply, one.ledger_key) for one in traces] == [
        (draw, f"\\boxed{{{draw}}}", calls[draw].key) for draw in range(3)
    ]
    for column in ("id", "source", "kind", "prompt", "answer", "solution", "licence"):
        assert {getattr(one, column) for one in traces} == {getattr(asked, column)}
    with Verifier(VerifySettings()) as verifier:
        judged = verified(traces, verifier)
    assert [(one.verdict, one.found) for one in judged] == [("wrong", "0"), ("wrong", "1"), ("correct", "2")]


def test_a_missing_answer_is_seen_and_makes_no_shorter_list() -> None:
    calls = calls_for(problem(), GENERATION, template="{prompt}", identity="m", seeded=True, seed=1)
    entries = {calls[1].key: entry(key=calls[1].key)}
    assert [one is None for one in traces_of(problem(), calls, entries, Truncated())] == [True, False, True]


def test_a_refused_call_is_a_trace_with_its_reason_and_no_verdict() -> None:
    calls = calls_for(problem(), GENERATION, template="{prompt}", identity="m", seeded=True, seed=1)
    said = {"outcome": "refused", "why": "content_filter", "thought": "", "reply": ""}
    entries = {call.key: entry(key=call.key, **(said if call.draw == 1 else {})) for call in calls}
    with Verifier(VerifySettings()) as verifier:
        judged = verified(made(problem(), calls, entries), verifier)
    assert [(one.drop, one.verdict) for one in judged] == [(None, "correct"), ("refused", None), (None, "correct")]
    assert judged[1].why == "content_filter"


def test_every_problem_is_counted_kept_or_dropped() -> None:
    rows = [problem(), problem("b", drop="image"), problem("c", drop="image"), problem("d", source="other")]
    total = ProblemCounts()
    for part in (rows[:3], rows[3:], []):
        total.add(count_problems(to_table(part, Problem)))
    sources = {"sources": {"made": 3, "other": 1}, "kept_of": {"made": 1, "other": 1}}
    assert total.as_json() == {"in": 4, "kept": 2, "dropped": {"image": 2}, **sources}


def test_calls_are_bought_reused_or_failed_and_money_is_counted_once() -> None:
    traces = [trace(draw=n, ledger_key=entry(n).key) for n in range(3)]
    traces.append(trace(draw=3, ledger_key=entry(3).key, verdict=None, drop="refused", cost_usd=0.0))
    entries = {e.key: e for e in (entry(0, attempts=4, invocation="now"), entry(1), entry(2), entry(3))}
    said = count_traces(traces, entries, invocation="now").as_json()
    assert said["calls"] == {"bought": 1, "reused": 2, "retried": 3, "failed": 1}
    assert (said["cost_usd"], said["cost_total_usd"]) == (pytest.approx(0.001), pytest.approx(0.003))
    assert said["verdicts"] == {"correct": 3, "wrong": 0, "undecided": 0}
    assert said["dropped"] == {"refused": 1}
    assert (said["problems"], said["traces"]) == (1, 4)
    assert said["tokens"] == {"prompt": 28, "thought": 16, "reply": 12}


def test_counts_of_shards_add_up() -> None:
    traces = [trace(f"p{n}", draw=n, verdict=("correct", "wrong", "undecided")[n % 3]) for n in range(12)]
    total = TraceCounts()
    for part in (traces[:5], traces[5:]):
        total.add(count_traces(part, {}, invocation="now"))
    assert total.as_json() == count_traces(traces, {}, invocation="now").as_json() | {
        "cost_usd": pytest.approx(0.0),
        "cost_total_usd": pytest.approx(0.012),
    }
    assert total.as_json()["verdicts"] == {"correct": 4, "wrong": 4, "undecided": 4}
