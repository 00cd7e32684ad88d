"""The rules on one trace, held against thoughts written by hand: what is honest stays, what is spoiled falls by name.

`thoughts/good.jsonl` holds honest thoughts of many styles. `thoughts/bad.jsonl` spoils them: behind the thought `base`
come `times` copies of `block` ({n} counts on, {m} and {q} are other numbers each time) and `after`; `reply` replaces.
"""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from rows import trace

from pipeline.record import Trace
from pipeline.thoughts.settings import ThoughtSettings
from pipeline.thoughts.thought import RULES, figures, unfit

HERE = Path(__file__).resolve().parent / "thoughts"
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ALL = ThoughtSettings(thought="needed", box="needed", language="any", min_markers=0)


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def good() -> dict[str, Trace]:
    return {
        row["id"]: trace(row["prompt"], thought=row["thought"], reply=row["reply"])
        for row in lines(HERE / "good.jsonl")
    }


def spoiled(row: dict[str, object], base: Trace) -> Trace:
    blocks = (str(row.get("block", "")).format(n=n, m=n * n + 7, q=n**3 % 101) for n in range(17, 17 + times(row)))
    after = str(row.get("after", ""))
    return trace(base.prompt, thought=base.thought + "".join(blocks) + after, reply=str(row.get("reply", base.reply)))


def times(row: dict[str, object]) -> int:
    return int(str(row.get("times", 0)))


def drop(text: str = "One and one.", **settings: object) -> str | None:
    """The rule that a thought breaks."""
    found = unfit(trace(thought=text), ThoughtSettings(**settings), tokens=len(text) // 4)
    return None if found is None else found[0]


def test_honest_thoughts_of_many_styles_stay() -> None:
    traces = good()
    assert len(traces) >= 20
    assert {name: unfit(row, ALL, tokens=500) for name, row in traces.items()} == dict.fromkeys(traces)


def test_spoiled_thoughts_fall_by_the_rule_that_names_what_is_wrong() -> None:
    traces, rows = good(), lines(HERE / "bad.jsonl")
    assert len(rows) >= 20
    found = {}
    for row in rows:
        verdict = unfit(spoiled(row, traces[row["base"]]), ALL, tokens=500)
        found[row["drop"], row["note"]] = verdict[0] if verdict else None
        assert verdict is None or 0 < len(verdict[1]) < 250
    assert found == {(row["drop"], row["note"]): row["drop"] for row in rows}


def test_rules_are_asked_in_the_order_in_which_they_are_listed_and_can_be_skipped() -> None:
    both = trace(thought="We add. " + "Wait, let me check it once more, please. " * 40, reply="")
    assert unfit(both, ALL, tokens=1)[0] == "empty_reply"
    assert unfit(both, ThoughtSettings(skip=("empty_reply",)), tokens=1)[0] == "loop"
    assert unfit(both, ThoughtSettings(skip=tuple(RULES)), tokens=1) is None


def test_the_band_of_lengths_is_in_the_tokens_that_the_caller_counts() -> None:
    asked = ThoughtSettings(min_tokens=10, max_tokens=20)
    found = [unfit(trace(), asked, tokens=tokens) for tokens in (9, 10, 20, 21)]
    assert [row and row[0] for row in found] == ["too_short", None, None, "too_long"]
    assert found[3][1] == "21 tokens, at most 20 wanted"
    with pytest.raises(ValueError, match="max_tokens=5 must be at least min_tokens=10"):
        ThoughtSettings(min_tokens=10, max_tokens=5)


def test_a_thought_and_a_box_can_be_demanded() -> None:
    assert unfit(trace(thought=" "), ThoughtSettings(thought="needed"), tokens=1)[0] == "no_thought"
    assert unfit(trace(reply="It is 2."), ThoughtSettings(box="needed"), tokens=1)[0] == "no_box"
    assert unfit(trace(thought=" ", reply="It is 2."), ThoughtSettings(), tokens=1) is None


def test_a_rewritten_solution_must_be_longer_and_needs_no_thought() -> None:
    asked = ThoughtSettings(rewritten=("reformat",), thought="needed", min_markers=3)
    row = {"generation": "reformat", "thought": "", "reply": "First one, then one: \\boxed{2}"}
    assert unfit(trace(solution="1 + 1 = 2", **row), asked, tokens=9) is None
    assert unfit(trace(solution="1 + 1 = 2 " * 9, **row), asked, tokens=9)[0] == "not_longer"
    assert unfit(trace(solution="1 + 1 = 2 " * 9), ThoughtSettings(), tokens=9) is None


def test_a_worked_solution_is_no_thought_and_an_honest_one_is() -> None:
    linear = "First we add the two numbers. Then we divide by three. They wait for 5 minutes. Hence the sum is 9."
    assert drop(linear, min_markers=1) == "not_a_thought"
    thoughts = good()
    few = [name for name, row in thoughts.items() if unfit(row, ThoughtSettings(min_markers=1), tokens=300)]
    # A division done once, with nothing but its check.
    assert few == ["decimals"]
    assert unfit(thoughts["many_waits"], ThoughtSettings(min_markers_per_1000=10), tokens=300) is None
    assert unfit(thoughts["many_waits"], ThoughtSettings(min_markers_per_1000=10), tokens=3000)[0] == "not_a_thought"


def test_markers_are_counted_by_kind() -> None:
    text = "Wait, that's wrong. Hmm. Let me verify it. Alternatively, we wait for him. Actually, no, it's scoops. Oops."
    assert figures(trace(thought=text), tokens=30).markers == {
        "reflect": 2,
        "check": 1,
        "alternative": 1,
        "correct": 4,
    }
    chinese = "等等，让我检查一下。不对，换一种方法。"
    assert figures(trace(thought=chinese), tokens=30).markers == {
        "reflect": 1,
        "check": 1,
        "alternative": 1,
        "correct": 1,
    }


def test_the_repeated_share_is_that_of_words_said_before() -> None:
    once = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}".replace("word", "wo") for n in range(100))
    assert figures(trace(thought=once), tokens=9).repeated_share == 0
    assert figures(trace(thought=f"{once} {once}"), tokens=9).repeated_share == 0.5
    assert figures(trace(thought=f"{once} other {once} more {once}"), tokens=9).repeated_share == 200 / 302


def test_another_language_than_the_problem_s_falls_only_where_asked() -> None:
    row = good()["chinese"]
    english = trace("What is the sum of the two numbers that we are given here?", thought=row.thought, reply=row.reply)
    assert unfit(english, ThoughtSettings(), tokens=9) is None
    found = unfit(english, ThoughtSettings(language="prompt"), tokens=9)
    assert found == ("other_language", "asked in en, said in zh")


def test_a_forced_answer_may_stand_behind_a_cut_thought() -> None:
    cut = "We add the numbers and then we divide by the"
    assert unfit(trace(thought=cut), ThoughtSettings(), tokens=9)[0] == "cut_off"
    assert unfit(trace(thought=cut, reply="Final answer: \\boxed{2}"), ThoughtSettings(), tokens=9) is None


def test_one_value_in_two_writings_is_one_box() -> None:
    same = [("0.5", "\\frac{1}{2}"), ("x = 5", "5"), ("\\textbf{(113)}", "113"), ("\\dfrac{a}{b}", "\\frac{a}{b}")]
    replies = [f"We get \\boxed{{{a}}} after some long work on it. So \\boxed{{{b}}}" for a, b in same]
    assert [unfit(trace(reply=reply), ThoughtSettings(), tokens=9) for reply in replies] == [None] * 4
    assert unfit(trace(reply="So \\boxed{5} and then, as was said, \\boxed{3, 5}"), ThoughtSettings(), tokens=9) is None


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "x y " * 250_000, "\\boxed{" * 140_000, "$" * 1_000_000, "\\(" * 500_000, "<|" * 500_000,
     "the answer " * 90_000, "wait " * 200_000, "\x00\x01 " * 300_000, "\n" * 1_000_000, "等" * 1_000_000,
     "等a" * 500_000, "```" * 300_000, "No. " * 250_000, "so 1 2 " * 140_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_a_million_characters_take_no_more_a_character_than_an_eighth_of_them(text: str) -> None:
    eighth, whole = (_seconds_judged(some) for some in (text[: len(text) // 8], text))
    assert whole < 24 * max(eighth, 0.02)  # 8 times, three times that for what other processes take; squared is 64


def _seconds_judged(text: str) -> float:
    row, begun = trace(thought=text, reply="\\boxed{2}"), time.process_time()
    for rule in RULES:
        unfit(row, ThoughtSettings(skip=tuple(name for name in RULES if name != rule)), tokens=9)
    figures(row, tokens=9)
    return time.process_time() - begun


@pytest.mark.data
def test_real_solutions_stay_but_for_those_that_were_read_and_are_spoiled() -> None:
    if not DATA.exists():
        pytest.skip("the real problem sets are not beside the checkout")
    texts = [(r["problem"], r["solution"]) for name in ("math500", "aime24") for r in lines(DATA / f"{name}.jsonl")]
    texts += [(r["question"], r["answer"]) for r in lines(DATA / "gsm8k_train.jsonl")]
    found = [unfit(trace(prompt, thought="", reply=text), ThoughtSettings(), tokens=9) for prompt, text in texts]
    assert len(found) > 8000
    assert [row for row in found if row] == []


@pytest.mark.data
def test_of_5276_model_solutions_only_broken_ones_fall() -> None:
    """All four were read: two end in the middle, one goes round in four lines, one says its problem thrice."""
    if not DATA.exists():
        pytest.skip("the real problem sets are not beside the checkout")
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    drops: Counter[str] = Counter()
    for row in lines(DATA / "gsm8k_model_solutions.jsonl"):
        for model in models:
            found = unfit(trace(row["question"], reply=row[model]["solution"], thought=""), ThoughtSettings(), tokens=9)
            drops[found[0] if found else "kept"] += 1
    assert drops == {"kept": 5272, "cut_off": 2, "loop": 1, "repetition": 1}
