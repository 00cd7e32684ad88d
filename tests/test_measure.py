"""From trace files to figures: what is read, what is compared, and the points of the paper's curve."""

import json
from pathlib import Path

import pytest
from rows import trace

from jobs.measure import measure
from pipeline.doubts import Doubts, look
from pipeline.record import Trace, to_table
from pipeline.scores.curve import budget_of, curve, published, told_apart
from pipeline.scores.score import Score, score
from pipeline.store import Store


def drawn(problems: int, *draws: tuple[int, str], tokens: int = 10) -> list[Trace]:
    return [
        trace(f"{n}?", draw=draw, vote=vote, verdict=verdict, thought_tokens=tokens, reply_tokens=0)
        for n in range(problems)
        for draw, (vote, verdict) in enumerate(draws)
    ]


RIGHT, HALF = [(0, "correct")] * 4, [(0, "correct"), (1, "wrong"), (0, "correct"), (2, "wrong")]


def kept(folder: Path, scores: dict[str, list[Trace]]) -> Store:
    """The traces of every `benchmark/model`, in two shards."""
    store = Store(str(folder))
    for place, traces in scores.items():
        for shard in (0, 1):
            store.write_table(f"scores/{place}/shard-{shard:05d}.parquet", to_table(traces[shard::2], Trace))
    return store


def test_every_benchmark_is_measured_and_every_two_models_compared(tmp_path: Path) -> None:
    store = kept(
        tmp_path,
        {
            "aime24/base": drawn(8, *HALF),
            "aime24/student": drawn(8, *RIGHT),
            "aime24/other": drawn(8, *HALF),
            "aime24/student@512": drawn(8, *HALF, tokens=5),
            **{f"sums/{model}": drawn(2, *RIGHT) for model in ("base", "student", "other", "student@512")},
        },
    )
    found = measure(store, benchmarks=["aime24", "sums"], models=["base", "student", "other", "student@512"])
    assert found["models"]["student"]["aime24"]["pass@1"] == 1.0
    # Of 4 draws 2 are right: 1 - C(2,2) / C(4,2). The two right ones agree and win whenever both are drawn.
    assert found["models"]["base"]["aime24"]["pass@k"] == pytest.approx({"1": 0.5, "2": 5 / 6, "4": 1.0})
    assert found["models"]["base"]["aime24"]["maj@k"] == pytest.approx({"1": 0.5, "2": 0.5, "4": 1.0})
    pairs = {(line["benchmark"], line["a"], line["b"]): line for line in found["paired"]}
    names = [("student", "base"), ("other", "base"), ("other", "student")]
    assert set(pairs) == {(benchmark, *two) for benchmark in ("aime24", "sums", "all") for two in names}
    line = pairs["aime24", "student", "base"]
    assert (line["difference"], line["p_value"], line["maj_difference"]) == (0.5, 2 / 2**8, 0.0)
    # Both benchmarks hold the problems 0 and 1: they are ten together, not eight.
    assert pairs["all", "student", "base"]["problems"] == 10
    assert pairs["all", "student", "base"]["difference"] == pytest.approx(0.4)
    metrics = json.loads((tmp_path / "scores" / "aime24" / "metrics.json").read_text())
    assert metrics["models"]["student"] == json.loads(json.dumps(found["models"]["student"]["aime24"]))
    assert [point["label"] for point in metrics["curve"]["student"]] == ["thought <= 512", "pass@1", "maj@2", "maj@4"]


def test_traces_of_before_there_were_votes_are_scored_without_majorities(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    table = to_table(drawn(3, *HALF), Trace).drop_columns(["vote"])
    store.write_table("scores/sums/base/shard-00000.parquet", table)
    found = measure(store, benchmarks=["sums"], models=["base"])["models"]["base"]["sums"]
    assert (found["pass@1"], found["maj@k"], found["problems"], found["samples"]) == (0.5, {}, 3, 12)


def test_only_the_k_that_were_asked_for_are_measured(tmp_path: Path) -> None:
    store = kept(tmp_path, {"sums/base": drawn(3, *HALF)})
    found = measure(store, benchmarks=["sums"], models=["base"], ks=[3])["models"]["base"]["sums"]
    # Two of four are right: every three of them hold a right one.
    assert found["pass@k"] == {"3": 1.0}
    assert list(found["maj@k"]) == ["3"]


def test_the_curve_goes_from_budgets_over_pass_at_1_to_majorities() -> None:
    scores: dict[str, Score] = {
        "student": score(drawn(4, *HALF, tokens=100)),
        "student@32": score(drawn(4, (0, "wrong"), tokens=40)),
        "student@8": score(drawn(4, (0, "wrong"), tokens=12)),
        "none": score([trace(verdict=None, drop="refused")]),
    }
    points = curve(scores)
    assert list(points) == ["student"]
    assert [(point.label, point.tokens, point.accuracy) for point in points["student"]] == [
        ("thought <= 8", 12, 0.0),
        ("thought <= 32", 40, 0.0),
        ("pass@1", 100, 0.5),
        ("maj@2", 200, 0.5),
        ("maj@4", 400, 1.0),
    ]
    assert points["student"][2].ci95 == score(drawn(4, *HALF)).ci95


def test_only_a_number_behind_the_last_at_is_a_budget() -> None:
    names = ["student@512", "a@b@64", "base", "model@host", "@5", "x@", "x@5k", "x@1_000"]
    assert [budget_of(name)[1] for name in names] == [512, 64, None, None, None, None, None, None]
    assert budget_of("a@b@64") == ("a@b", 64)


def test_published_points_are_the_papers_and_its_headline_is_not_told_apart() -> None:
    points = {figure.model: figure.point for figure in published("AIME_2024")}
    assert points["o1-mini"].tokens == 9903
    # Wilson for 12 and 13 of 30, as the notes on the paper have them: 25 to 58 % and 27 to 61 %.
    assert points["o1-preview"].ci95 == pytest.approx((0.246, 0.577), abs=1e-3)
    assert points["the paper's 72B"].ci95 == pytest.approx((0.274, 0.608), abs=1e-3)
    p_values = {(a.model, b.model): p_value for a, b, p_value in told_apart(published("aime24"))}
    assert p_values["o1-preview", "the paper's 72B"] == pytest.approx(1.0)
    on_math = {(a.model, b.model): p_value for a, b, p_value in told_apart(published("MATH-500"))}
    assert on_math["o1-preview", "the paper's 72B"] == pytest.approx(0.52, abs=0.01)
    assert published("aime25") == ()


def test_undecided_traces_are_counted_by_reason_and_some_disagreements_kept(tmp_path: Path) -> None:
    rows = [trace(f"{n}?", verdict="undecided", why=f"checks disagree: row {n}", found="9" * 1000) for n in range(9)]
    rows += [trace("x", verdict="undecided", why=None), trace("y", why="checks disagree: but it was decided")]
    rows += [trace("z", verdict=None, drop="refused", why=None)]
    doubts = Doubts()
    look(kept(tmp_path, {"sums/base": rows}), "scores/sums/base", doubts, where="sums, base", most=4)
    assert doubts.reasons == {"checks disagree": 9, "no reason given": 1}
    assert doubts.undecided == 10
    assert [len(found.found) for found in doubts.disagreements] == [303] * 4
    assert doubts.disagreements[0].why == "checks disagree: row 0"
