"""The report: one page that holds everything, and that no reply can break out of."""

import re

from rows import trace

from pipeline.paired import compare
from pipeline.report import page
from pipeline.score import rates, score, tally

EVALUATED = {
    "models": {
        name: {"sums": score([trace(f"{n}?", verdict=verdict) for n in range(8)]).as_json()}
        for name, verdict in (("base", "wrong"), ("student", "correct"))
    },
    "paired": [],
    "held_out_in_dataset": 0,
}

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
    }
    return page(**{**given, **changes})


def test_replies_are_text_and_pictures_are_inside() -> None:
    html = made()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; x &lt; y" in html
    assert "<b>bold</b>" not in html
    assert html.count("<svg") == 2
    assert not re.search(r"(?:src|href)=[\"']https?:", html)


def test_scores_stand_with_their_intervals_and_the_stand_in_is_named() -> None:
    html = made()
    assert "100.0 %" in html
    assert "67.6 % to 100.0 %" in html  # Wilson for 8 of 8
    assert "stand-in" in html
    assert "stand-in" not in made(standin=False)


def test_a_run_that_was_not_evaluated_has_a_page_too() -> None:
    assert "Before and after" not in made(summaries={}, histories={}, traces=[])


def test_the_difference_of_two_models_is_what_the_page_says() -> None:
    right, wrong = ([trace(f"{n}?", verdict=verdict) for n in range(8)] for verdict in ("correct", "wrong"))
    found = compare(*(rates(tally(traces).problems) for traces in (right, wrong)))
    assert found is not None
    line = {"benchmark": "sums", "a": "student", "b": "base", "problems": 8, "difference": found.difference}
    line |= {"ci95": found.ci95, "p_value": found.p_value}
    html = made(summaries={"evaluate": EVALUATED | {"paired": [line]}}, histories={})
    assert "+100.0" in html
