"""Choosing: which traces are trained on, and why each other is not."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rows import trace

from pipeline.alike.match import Matched
from pipeline.choose import ChooseSettings
from pipeline.choosing.example import EXAMPLE_SCHEMA, examples
from pipeline.choosing.judge import Finding, judge
from pipeline.choosing.select import select
from pipeline.record import Trace, problem_id, to_table

NONE: frozenset[str] = frozenset()


def judged(
    traces: Sequence[Trace],
    *,
    held_out: frozenset[str] = NONE,
    broken: str = "\0",
    leaked: str = "\0",
    part: int = 3,
    **settings: object,
) -> pa.Table:
    """The candidates of traces; a student's token is a character. `broken` and `leaked` are found in thoughts."""

    def rule(one: Trace, tokens: int) -> Finding:
        return ("loop", f"{tokens} tokens") if broken in one.thought else None

    def leaks(many: Sequence[Trace]) -> Sequence[tuple[str, Matched] | None]:
        return [("a run", found(one)) if leaked in one.thought else None for one in many]

    def found(one: Trace) -> Matched:
        told = {"layer": "benchmark_ngram", "benchmark": "b", "benchmark_id": "0", "score": 1.0, "shared": leaked}
        return Matched(where="trace", id=one.id, source=one.source, text=one.thought, benchmark_text="t", **told)

    recited: list[Matched] = []
    table = judge(
        lambda: [to_table(traces[start : start + part], Trace) for start in range(0, len(traces), part)],
        settings=ChooseSettings(**settings),
        seed=1,
        held_out=held_out,
        count=lambda texts: [len(text) for text in texts],
        rules=rule,
        leaks=leaks,
        found=recited.extend,
    )
    assert len(recited) == table["drop"].to_pylist().count("trace_in_benchmark")
    return table


def chosen(*traces: Trace, **settings: object) -> dict[tuple[str, str, int], str | None]:
    """(prompt, generation, draw) -> why it is left out."""
    table = judged(traces, **settings)
    names = [(one.prompt, one.generation, one.draw) for one in traces]
    found = dict(zip(names, table["drop"].to_pylist(), strict=True))
    pool = table.append_column("row", pa.array(range(table.num_rows))).filter(pc.is_null(table["drop"]))
    if pool.num_rows:
        settings.pop("held_out", None)
        selection = select(pool, settings=ChooseSettings(**settings), known={})
        for row, reason in zip(selection.pool["row"].to_pylist(), selection.reason.tolist(), strict=True):
            found[names[row]] = None if reason < 0 else selection.reasons[reason][0]
    assert len(found) == len(traces)
    return found


def drops(*traces: Trace, **settings: object) -> dict[int, str | None]:
    """Draw -> why it is left out."""
    return {draw: drop for (_, _, draw), drop in chosen(*traces, **settings).items()}


def draws(count: int, **columns: object) -> list[Trace]:
    return [trace(draw=draw, thought=f"thought {draw}", **columns) for draw in range(count)]


def test_up_to_k_correct_traces_of_a_problem_are_kept_in_the_order_drawn() -> None:
    assert drops(*reversed(draws(4)), per_problem=2) == {0: None, 1: None, 2: "enough", 3: "enough"}


def test_only_correct_traces_are_kept() -> None:
    traces = [
        trace(draw=0, verdict="wrong", found="3"),
        trace(draw=1, verdict="undecided", why="the judge ran past 10 s"),
        trace(draw=2, verdict="wrong", finish_reason="length", why="truncated"),
        trace(draw=3, verdict=None, drop="refused", finish_reason=""),
        trace(draw=4),
    ]
    assert drops(*traces, per_problem=9) == {0: "wrong", 1: "undecided", 2: "truncated", 3: "refused", 4: None}


def test_an_odd_end_is_left_out_even_when_correct() -> None:
    assert drops(trace(draw=0, finish_reason="length"), trace(draw=1, finish_reason="tool_calls"), per_problem=2) == {
        0: "truncated",
        1: "finish_tool_calls",
    }


def test_held_out_problems_never_pass() -> None:
    assert drops(*draws(2), held_out=frozenset({problem_id("What is 1 + 1?")})) == {
        0: "in_benchmark",
        1: "in_benchmark",
    }


def test_the_same_text_is_kept_once() -> None:
    same = [trace(draw=0), trace(draw=1), trace(draw=2, thought="Another way.")]
    assert drops(*same, per_problem=9) == {0: None, 1: "same_text", 2: None}


def test_shortest_and_longest_go_by_tokens() -> None:
    traces = [trace(draw=n, thought="a" * tokens) for n, tokens in enumerate((50, 10, 90))]
    assert [draw for draw, drop in drops(*traces, order="shortest").items() if drop is None] == [1]
    assert [draw for draw, drop in drops(*traces, order="longest").items() if drop is None] == [2]
    assert [draw for draw, drop in drops(*traces, order="draw").items() if drop is None] == [0]


def test_generations_and_problems_have_their_own_quota() -> None:
    traces = [
        trace(prompt, generation=generation, draw=draw, thought=f"{draw}")
        for prompt in ("one", "two", "three")
        for generation in ("long", "self")
        for draw in range(3)
    ]
    choices = chosen(*traces, per_problem=2)
    kept = Counter((prompt, generation) for (prompt, generation, _), drop in choices.items() if drop is None)
    assert kept == {(prompt, generation): 2 for prompt in ("one", "two", "three") for generation in ("long", "self")}
    assert len(choices) == 18


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    traces = [trace(prompt, draw=draw, thought=f"{draw % 2}") for prompt in ("one", "two") for draw in range(4)]
    assert chosen(*traces, per_problem=2) == chosen(*traces[::-1], per_problem=2)


def test_an_example_holds_the_question_the_thought_and_where_it_came_from() -> None:
    kept = trace(draw=0)
    table = examples([kept], student_tokens=[9], agreement=[1.0], templates={})
    assert table.schema == EXAMPLE_SCHEMA
    (row,) = table.to_pylist()
    assert row["messages"] == [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "<think>\nOne and one.\n</think>\n\n\\boxed{2}"},
    ]
    provenance = {name: row[name] for name in ("source", "licence", "answer", "verdict", "found", "ledger_key")}
    assert provenance == {name: getattr(kept, name) for name in provenance}
    assert row["problem_id"] == kept.id


def test_no_traces_make_an_empty_table_of_the_same_shape() -> None:
    assert examples([], student_tokens=[], agreement=[], templates={}).schema == EXAMPLE_SCHEMA


def test_a_quota_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="per_problem"):
        ChooseSettings(per_problem=0)


def test_a_rewritten_solution_is_trained_on_under_the_bare_problem() -> None:
    rewritten = trace(generation="reformat", messages='[{"role":"user","content":"Rewrite: one and one"}]')
    tables = [
        examples([rewritten], student_tokens=[9], agreement=[None], templates=templates)
        for templates in ({}, {"reformat": "Solve: {prompt}"})
    ]
    asked = [table["messages"][0].as_py()[0]["content"] for table in tables]
    assert asked == ["Rewrite: one and one", "Solve: What is 1 + 1?"]
