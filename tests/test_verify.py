"""The three verdicts: exact where it can be told here, symbolic in processes that can be killed."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.golds import bad_gold
from pipeline.prompts import split
from pipeline.verdict import Submission, Verdict
from pipeline.verify import Verifier, VerifySettings, decide

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(VerifySettings(timeout_s=30, judges=2)) as opened:
        yield opened


def boxed(answer: str, gold: str, *, kind: str = "math") -> Submission:
    return Submission(kind=kind, gold=gold, reply=f"So it is \\boxed{{{answer}}}.", finish_reason="stop")


def names(verifier: Verifier, pairs: list[tuple[str, str]], *, kind: str = "math") -> list[tuple[str, str, str]]:
    verdicts = verifier.verify([boxed(answer, gold, kind=kind) for answer, gold in pairs])
    return [(answer, gold, verdict.verdict) for (answer, gold), verdict in zip(pairs, verdicts, strict=True)]


def test_verify_takes_the_last_box(verifier: Verifier) -> None:
    reply = "First \\boxed{5}, no: \\boxed{6}"
    verdicts = verifier.verify([Submission("math", gold, reply, "stop") for gold in ("5", "6")])
    assert [(verdict.verdict, verdict.found) for verdict in verdicts] == [("wrong", "6"), ("correct", "6")]


def test_a_truncated_reply_is_wrong_even_with_the_right_box() -> None:
    assert decide(Submission("math", "5", "\\boxed{5}", "length")) == Verdict("wrong", None, "truncated")


def test_a_cut_off_last_box_is_wrong_for_want_of_an_answer() -> None:
    assert decide(Submission("math", "5", "\\boxed{5}, so \\boxed{5", "stop")) == Verdict("wrong", None, "no_answer")


def test_a_box_in_the_thought_earns_nothing() -> None:
    reply = split("<think>\\boxed{5}</think>I give up.", truncated=False).reply
    assert decide(Submission("math", "5", reply, "stop")) == Verdict("wrong", None, "no_answer")


def test_equal_values_are_correct_however_they_are_written(verifier: Verifier) -> None:
    pairs = [
        ("1,000", "1000"),
        ("1{,}000", "1000"),
        ("0.50", "1/2"),
        ("\\frac{1}{2}", "0.5"),
        ("\\frac12", "\\dfrac{1}{2}"),
    ]
    pairs += [("x=5", "5"), ("18 \\text{ dollars}", "18"), ("2^{1/2}", "\\sqrt{2}"), ("(x+1)^2", "x^2+2x+1")]
    pairs += [("1+1", "2"), ("\\frac{\\sqrt{3}}{2}", "\\sin(\\pi/3)"), ("10^{-20}", "0." + "0" * 19 + "1")]
    assert names(verifier, pairs) == [(answer, gold, "correct") for answer, gold in pairs]


def test_other_values_are_wrong_however_close(verifier: Verifier) -> None:
    pairs = [("10^{-21}", "10^{-20}"), ("-5", "5"), ("18.5", "18"), ("0.333", "1/3"), ("5 or 6", "5"), ("4, 5", "5")]
    pairs += [("\\text{none}", "5"), ("\\sqrt{3}", "\\sqrt{2}"), ("x+1", "x-1"), ("1,23", "123")]
    told = names(verifier, pairs)
    assert [(answer, gold) for answer, gold, verdict in told if verdict == "correct"] == []
    assert [verdict for *_, verdict in told[:4]] == ["wrong"] * 4


def test_small_exact_values_are_not_rounded_into_each_other(verifier: Verifier) -> None:
    pairs = [("\\pi \\cdot 10^{-21}", "\\pi \\cdot 10^{-20}"), ("10^{-20} + 10^{-21}", "10^{-20}")]
    assert [told for told in names(verifier, pairs) if told[2] == "correct"] == []


def test_tuples_intervals_and_sets_are_compared_as_such(verifier: Verifier) -> None:
    right = [
        ("(1, 2)", "(1,2)"),
        ("\\{2, 1\\}", "\\{1,2\\}"),
        ("[0, 1)", "[0,1)"),
        ("\\left(3, \\frac{\\pi}{2}\\right)", "(3, \\pi/2)"),
    ]
    other = [("(2, 1)", "(1,2)"), ("\\{1, 3\\}", "\\{1,2\\}"), ("[0, 1]", "[0,1)"), ("(0, 2)", "(0,1)")]
    assert names(verifier, right) == [(answer, gold, "correct") for answer, gold in right]
    assert names(verifier, other) == [(answer, gold, "wrong") for answer, gold in other]


def test_texts_are_compared_without_case_and_space(verifier: Verifier) -> None:
    pairs = [("\\text{Olleh}", "olleh"), (" olleh ", "olleh"), ("hello", "olleh"), ("o l l e h", "olleh")]
    assert [verdict for *_, verdict in names(verifier, pairs, kind="text")] == ["correct", "correct", "wrong", "wrong"]


def test_a_choice_is_its_letter(verifier: Verifier) -> None:
    right = ["B", "(B)", "\\text{(B)}", "b", "B.", "\\textbf{(B) } 12", "B) 12"]
    told = names(verifier, [(answer, "B") for answer in right], kind="choice")
    assert [answer for answer, _, verdict in told if verdict != "correct"] == []


def test_a_word_or_two_letters_are_no_right_choice(verifier: Verifier) -> None:
    pairs = [("Both", "B"), ("B or C", "B"), ("A, B", "A"), ("None", "N"), ("C", "B"), ("()", "B")]
    told = names(verifier, pairs, kind="choice")
    assert [(answer, gold) for answer, gold, verdict in told if verdict == "correct"] == []


def test_endless_digits_get_a_verdict(verifier: Verifier) -> None:
    pairs = [("1" * 5000, "5"), ("0." + "3" * 5000, "1/3")]
    assert [told for told in names(verifier, pairs) if told[2] == "correct"] == []


def test_a_hostile_power_is_undecided_in_time_and_the_next_row_is_judged() -> None:
    with Verifier(VerifySettings(timeout_s=1.5)) as verifier:
        (first,) = verifier.verify([boxed("\\sqrt{4}", "2")])
        started = time.monotonic()
        (hostile,) = verifier.verify([boxed("\\Gamma(10^{9})", "5")])
        took_s = time.monotonic() - started
        (after,) = verifier.verify([boxed("\\sqrt{4}", "2")])
    assert (first.verdict, after.verdict) == ("correct", "correct")
    assert hostile.verdict == "undecided"
    assert "1.5 s of CPU time" in hostile.why
    assert took_s < 6


def test_a_judge_that_is_killed_on_a_row_leaves_it_undecided_and_closing_leaves_none() -> None:
    before = children()
    with Verifier(VerifySettings(timeout_s=30)) as verifier:
        verifier.verify([boxed("\\sqrt{4}", "2")])
        (judge,) = [child for child in children() - before if not child.children()]
        told: list[Verdict] = []
        slow = boxed("\\Gamma(10^{9})", "5")
        thread = threading.Thread(target=lambda: told.extend(verifier.verify([slow, boxed("\\sqrt{9}", "3")])))
        busy_s = judge.cpu_times().user
        thread.start()
        while judge.cpu_times().user < busy_s + 0.3:
            time.sleep(0.02)
        judge.kill()
        thread.join(timeout=60)
    assert [(verdict.verdict, verdict.why) for verdict in told] == [
        ("undecided", "the judge was killed (out of memory?)"),
        ("correct", "symbolic"),
    ]
    assert children() <= before


def test_a_judge_whose_parent_is_killed_is_started_again() -> None:
    before = children()
    with Verifier(VerifySettings(timeout_s=5)) as verifier:
        verifier.verify([boxed("\\sqrt{4}", "2")])
        for process in children() - before:
            process.kill()
        verdicts = verifier.verify([boxed("\\sqrt{4}", "2"), boxed("\\sqrt{9}", "3")])
    assert [verdict.verdict for verdict in verdicts] == ["undecided", "correct"]
    assert children() <= before


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_verdicts_come_in_the_order_of_the_submissions(verifier: Verifier) -> None:
    verdicts = verifier.verify([boxed(f"\\sqrt{{{n * n}}}", "7") for n in range(20)])
    assert [verdict.found for verdict in verdicts] == [f"\\sqrt{{{n * n}}}" for n in range(20)]
    assert [n for n, verdict in enumerate(verdicts) if verdict.verdict == "correct"] == [7]


def test_a_verifier_works_outside_the_main_thread(verifier: Verifier) -> None:
    said: list[Verdict] = []
    thread = threading.Thread(target=lambda: said.extend(verifier.verify([boxed("\\sqrt{4}", "2")])))
    thread.start()
    thread.join(timeout=60)
    assert [verdict.verdict for verdict in said] == ["correct"]


LONG_THOUGHT = "<think>" + "We try 12 and get \\frac{3}{4}, wait, \\boxed{999}. " * 600 + "</think>\n\n"
WRITINGS = {
    "as it is": lambda gold: gold,
    "boxed in a sentence": lambda gold: f"So the answer is \\boxed{{{gold}}}, as we wanted.",
    "as dfrac": lambda gold: f"\\boxed{{{gold.replace(chr(92) + 'frac', chr(92) + 'dfrac')}}}",
    "with period and dollar signs": lambda gold: f"The answer is ${gold}$.",
    "after a long thought": lambda gold: f"{LONG_THOUGHT}\\boxed{{{gold}}}",
}


@pytest.mark.data
@pytest.mark.parametrize("writing", WRITINGS)
def test_every_gold_answer_verifies_against_itself(verifier: Verifier, writing: str) -> None:
    golds = [row["answer"] for row in lines("math500.jsonl")]
    golds += [str(row["answer"]) for row in lines("aime24.jsonl")]
    golds += [str(row["expected_answer"]) for row in lines("aime25.jsonl")]
    golds += [row["answer"] for row in lines("math2024_cn.jsonl")]
    golds += [row["answer"].rpartition("#### ")[2] for row in lines("gsm8k_test.jsonl")]
    assert len(LONG_THOUGHT) > 30_000
    assert len(golds) >= 499 + 30 + 30 + 30 + 1319
    written = [Submission("math", gold, WRITINGS[writing](gold), "stop") for gold in golds]
    verdicts = verifier.verify(written)
    failed = [(gold, told) for gold, told in zip(golds, verdicts, strict=True) if told.verdict != "correct"]
    assert failed == []
    assert [gold for gold in golds if bad_gold("math", gold)] == []


@pytest.mark.data
def test_verdicts_agree_with_the_labels_of_recorded_solutions(verifier: Verifier) -> None:
    labels, submissions = [], []
    for number, row in enumerate(lines("gsm8k_model_solutions.jsonl"), start=1):
        gold = row["ground_truth"].rpartition("A: ")[2].strip()
        for model, said in row.items():
            if isinstance(said, dict):
                labels.append((number, model, said["is_correct"], gold))
                submissions.append(Submission("math", gold, said["solution"], "stop"))
    verdicts = verifier.verify(submissions)
    differ = []
    for label, submission, verdict in zip(labels, submissions, verdicts, strict=True):
        if verdict.verdict != ("correct" if label[2] else "wrong"):
            differ.append((*label, verdict, submission.reply[-120:]))
    print(*differ, sep="\n")
    assert len(labels) == 5276
    assert len(differ) <= 5276 // 1000, differ


def lines(name: str) -> list[dict[str, Any]]:
    if not (DATA / name).is_file():
        pytest.skip(f"no {DATA / name}: put the project's shared data beside the checkout")
    return [json.loads(line) for line in (DATA / name).open()]


PLAIN_BUT_NOT_THAT = [
    ("5", "The total is \N{MINUS SIGN}5."),
    ("5", "y = x-5"),
    ("2", "2^2"),
    ("5", "It is 5/5."),
    ("3", "3 x 3"),
    ("2", "The answer is 2 pi"),
    ("5", "The answer is 5 million"),
    ("5", "The answer is 5 less than x"),
    ("7", "It is less than 7."),
    ("3", "I give up after 3 tries."),
    ("12", "\\boxed{12_8}"),
    ("5", "\\boxed{\\ge 5}"),
    ("(1,2)", "\\boxed{\\{1,2\\}}"),
    ("\\pi\\cdot10^{-21}", "\\boxed{\\pi\\cdot10^{-20}}"),
]


def test_what_only_looks_like_the_answer_is_never_correct() -> None:
    with Verifier(VerifySettings(timeout_s=60)) as verifier:
        verdicts = verifier.verify([Submission("math", gold, reply, "stop") for gold, reply in PLAIN_BUT_NOT_THAT])
    passed = [pair for pair, verdict in zip(PLAIN_BUT_NOT_THAT, verdicts, strict=True) if verdict.verdict == "correct"]
    assert passed == []


def test_two_quoted_texts_are_no_answer() -> None:
    assert verdict_of("text", "bar", 'It is "foo" or "bar"').found is None
    assert verdict_of("text", "nus", 'The word "sun" backward is "nus".').verdict == "correct"


def verdict_of(kind: str, gold: str, reply: str) -> Verdict:
    with Verifier(VerifySettings()) as verifier:
        return verifier.verify([Submission(kind, gold, reply, "stop")])[0]
