"""From problems and the ledger to verified traces: what a finished shard holds depends on nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline.ledger import Call, Entry
from pipeline.llm_judge import without_judge
from pipeline.record import Problem, Trace
from pipeline.truncated import Truncated, chain, joined
from pipeline.verdict import Submission
from pipeline.verify import Verifier


def traces_of(
    problem: Problem, calls: list[Call], entries: Mapping[str, Entry], truncated: Truncated
) -> Iterator[Trace | None]:
    """The unverified trace of each call, made of all that was bought for it; None while the ledger lacks an answer."""
    for call in calls:
        held, missing = chain(call, entries, truncated)
        yield None if missing is not None else _trace(problem, call, joined(held))


def verified(traces: list[Trace], verifier: Verifier) -> list[Trace]:
    """The traces with verdict, found and why; those without a reply stay as they are, those of kind judge wait."""
    judged = [trace for trace in traces if trace.drop is None and trace.kind != "judge"]
    submissions = [
        Submission(kind=trace.kind, gold=trace.answer, reply=trace.reply, finish_reason=trace.finish_reason)
        for trace in judged
    ]
    verdicts = iter(verifier.verify(submissions))
    out = []
    for trace in traces:
        if trace.drop is None and trace.kind == "judge":
            trace = without_judge(trace)
        elif trace.drop is None:
            verdict = next(verdicts)
            trace = replace(trace, verdict=verdict.verdict, found=verdict.found, why=verdict.why)
        out.append(trace)
    return _voted(out, verifier)


def _voted(traces: list[Trace], verifier: Verifier) -> list[Trace]:
    """The traces with the classes of equal answers among the draws that one generation made for one problem."""
    draws: dict[tuple[str, str], list[int]] = {}
    for place, trace in enumerate(traces):
        draws.setdefault((trace.id, trace.generation), []).append(place)
    asked = [(traces[places[0]].kind, [traces[place].found for place in places]) for places in draws.values()]
    votes: dict[int, int | None] = {}
    for places, numbers in zip(draws.values(), verifier.all_votes(asked), strict=True):
        votes.update(zip(places, numbers, strict=True))
    return [replace(trace, vote=votes[place]) for place, trace in enumerate(traces)]


def _trace(problem: Problem, call: Call, entry: Entry) -> Trace:
    refused = entry.outcome == "refused"
    return Trace(
        id=problem.id,
        source=problem.source,
        kind=problem.kind,
        prompt=problem.prompt,
        answer=problem.answer,
        solution=problem.solution,
        licence=problem.licence,
        row=problem.row,
        subject=problem.subject,
        level=problem.level,
        cluster=problem.cluster,
        pass_rate=problem.pass_rate,
        pass_draws=problem.pass_draws,
        generation=call.generation,
        engine=call.engine,
        draw=call.draw,
        ledger_key=call.key,
        messages=call.messages,
        thought=entry.thought,
        reply=entry.reply,
        finish_reason=entry.finish_reason,
        prompt_tokens=entry.prompt_tokens,
        thought_tokens=entry.thought_tokens,
        reply_tokens=entry.reply_tokens,
        cost_usd=entry.cost_usd + entry.unsure_usd,
        seconds=entry.seconds,
        verdict=None,
        found=None,
        why=entry.why if refused else None,
        drop="refused" if refused else None,
    )
