"""The report: one page that holds everything, and that no text of others can break out of."""

import math
import re
from collections import Counter
from xml.etree import ElementTree

from rows import trace

from jobs.measure import pairs
from pipeline import drawing
from pipeline.bought import Bought, Group, Sums
from pipeline.doubts import Disagreement, Doubts
from pipeline.record import Trace
from pipeline.report import page
from pipeline.scores.curve import curve, published
from pipeline.scores.score import score, tally

ALARM = "<script>alert(1)</script>"


def drawn(*verdicts: str, draws: int = 1) -> list[Trace]:
    return [
        trace(f"{n}?", draw=draw, verdict=verdict, vote=int(verdict == "wrong"))
        for n, verdict in enumerate(verdicts)
        for draw in range(draws)
    ]


def evaluated(models: dict[str, list[Trace]], benchmark: str = "sums") -> dict[str, object]:
    scores = {name: score(traces) for name, traces in models.items()}
    points = {name: [point.as_json() for point in found] for name, found in curve(scores).items()}
    return {
        "models": {name: {benchmark: found.as_json()} for name, found in scores.items()},
        "paired": list(pairs(benchmark, {name: tally(traces).problems for name, traces in models.items()})),
        "curve": {benchmark: points},
        "held_out_in_dataset": 0,
    }


EVALUATED = evaluated({"base": drawn(*["wrong"] * 8), "student": drawn(*["correct"] * 8)})

PHASE = {"name": "only", "steps": 2, "tokens": 9, "padding_fraction": 0.0, "loss_first": 2.0, "loss_last": 1.0}
TRAINED = {"phases": [PHASE | {"tokens_per_s": 3.0}]}


def made(**changes: object) -> str:
    given = {
        "name": "run",
        "summaries": {"evaluate": EVALUATED, "train": TRAINED},
        "histories": {"only": [2.0, 1.0]},
        "traces": [("distill", trace(reply="<script>alert(1)</script> x < y", thought="<b>bold</b>"))],
        "recipe": "name: run",
        "standin": True,
        "bought": Bought(),
        "doubts": Doubts(),
    }
    return page(**{**given, **changes})


def test_replies_are_text_and_pictures_are_inside() -> None:
    html = made()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; x &lt; y" in html
    assert "<b>bold</b>" not in html
    assert html.count("<svg") == 3
    assert not re.search(r"(?:src|href)=[\"']https?:", html)


def test_scores_stand_with_their_intervals_and_the_stand_in_is_named() -> None:
    html = made()
    assert "<b>100.0</b>" in html
    assert "67.6 to 100.0" in html  # Wilson for 8 of 8
    assert "stand-in" in html
    assert "stand-in" not in made(standin=False)


def test_checkpoints_that_were_measured_and_held_back_losses_are_in_the_training_section() -> None:
    measured = {"step": 40, "benchmark": "sums", "pass@1": 0.5, "ci95": [0.2, 0.75], "mean_tokens": 31.0}
    failed = {"step": 80, "failed": "no <memory>"}
    phase = TRAINED["phases"][0] | {"validation": {"1": 1.9, "2": 1.5}, "evaluations": [measured, failed]}
    html = made(summaries={"train": {"phases": [phase]}})
    assert "only, held back" in html
    assert "held back" not in made()
    assert "20.0 to 75.0" in html
    assert "not measured: no &lt;memory&gt;" in html


def test_a_run_that_was_not_evaluated_has_a_page_too() -> None:
    assert "Before and after" not in made(summaries={}, histories={}, traces=[])


def test_the_difference_of_two_models_is_said_in_words() -> None:
    html = made()
    assert "student minus base" in html
    assert "+100.0" in html
    assert "they differ" in html
    few = evaluated({"base": drawn("wrong", "correct", "wrong"), "student": drawn("correct", "correct", "wrong")})
    assert re.search(
        r"not told apart: about \d+ problems would be needed", made(summaries={"evaluate": few}, histories={})
    )
    same = evaluated({"base": drawn("wrong", "correct"), "student": drawn("wrong", "correct")})
    assert "no difference seen" in made(summaries={"evaluate": same}, histories={})


def test_any_number_of_models_is_drawn_and_no_name_is_markup_or_math() -> None:
    names = [ALARM, "$\\frac{$", "_hidden", "a&b", *(f"model-{n}" for n in range(12)), f"{ALARM}@64", "student@8"]
    models = {name: drawn("correct", "wrong", "correct", draws=4) for name in names}
    html = made(
        summaries={"train": TRAINED, "evaluate": evaluated(models, f"bench $x_{ALARM}")}, histories={"$a_{": [1.0]}
    )
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    texts = ["".join(ElementTree.fromstring(picture).itertext()) for picture in pictures]
    assert len(texts) == 3
    for text in texts[:2]:
        assert ALARM in text
        assert "$\\frac{$" in text
        assert "_hidden" in text
        assert "model-11" in text
    assert len(set(drawing.colours(names[:10]).values())) >= 8


def test_text_of_problems_and_replies_never_reaches_the_page_as_markup() -> None:
    disagreement = Disagreement(
        where="sums, base", prompt=ALARM, gold=ALARM, found=ALARM, why=f"checks disagree: {ALARM}"
    )
    hostile = trace(prompt=ALARM, answer=ALARM, found=ALARM, why=ALARM, thought=ALARM, reply=ALARM, engine=ALARM)
    html = made(
        name=ALARM,
        recipe=ALARM,
        traces=[(ALARM, hostile)],
        doubts=Doubts(Counter({ALARM: 2, "checks disagree": 1}), [disagreement]),
        bought=Bought({Group(ALARM, "2026-01-01", "answered"): Sums(1, 2, 3, 4, 5.0, 6.0)}),
    )
    assert "<script" not in html
    # Name (twice), reason, 4 cells of the disagreement, engine, title, gold, found, summary, prompt, thought, reply,
    # engine, why, recipe.
    assert html.count("&lt;script&gt;") == 18


def test_what_could_not_be_judged_and_whether_the_judge_agrees_are_shown() -> None:
    doubts = Doubts(Counter({f"reason {n}": 20 - n for n in range(17)}))
    judge = {"judged": 1200, "agree": 1150, "disagree": 50, "kappa": 0.912}
    html = made(summaries={"evaluate": {**EVALUATED, "judge": judge}}, histories={}, doubts=doubts)
    assert "reason 14" in html
    assert "2 rarer reasons" in html
    assert "reason 15" not in html
    assert "1,150" in html
    assert "0.91" in html
    assert "could not be judged" not in made()


def test_all_that_was_spent_is_on_the_page_whoever_it_was_spent_on() -> None:
    groups = {
        Group("teacher @ host", "2026-01-01", "answered"): Sums(10, 1, 2, 3, 2.0, 0.5),
        Group("teacher @ host", "2026-01-02", "truncated"): Sums(5, 1, 2, 3, 1.0, 0.0),
        Group("judge @ host", "2026-01-02", "answered"): Sums(7, 1, 2, 3, 0.25, 0.0),
    }
    html = made(bought=Bought(groups))
    assert "$3.7500" in html
    assert re.search(r"teacher @ host</td><td class=\"n\">15<", html)
    assert "Up to $0.5000 more may" in html


def test_the_curve_has_the_published_points_of_the_papers_benchmarks_only() -> None:
    assert "o1-preview" not in made()
    html = made(summaries={"evaluate": evaluated({"base": drawn("wrong", "correct", draws=4)}, "aime24")}, histories={})
    assert "o1-preview (40.0 %) and the paper&#39;s 72B (43.3 %) can&#39;t be told apart (p = 1)" in html
    points = [figure.point.as_json() for figure in published("aime24")]
    assert all(math.isfinite(point["tokens"]) for point in points)
    assert html.count("o1-mini") >= 3


def test_a_model_without_a_verdict_has_a_line_and_no_bar() -> None:
    nobody = [trace("a", verdict=None, drop="refused")]
    html = made(summaries={"evaluate": evaluated({"base": nobody, "student": drawn("correct")})}, histories={})
    assert "none judged" in html
