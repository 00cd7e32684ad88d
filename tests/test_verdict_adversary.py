"""Replies that were written to be judged wrongly: by reviewers who looked for answers that pass and should not."""

import time
from collections.abc import Iterator

import pytest

from pipeline.answers import Unclear, final_answers
from pipeline.verdict import Submission
from pipeline.verify import Verifier, VerifySettings

NOT_THE_ANSWER = [
    ("5", "\\boxed{x-3=5}"),
    ("5", "\\boxed{2x=5}"),
    ("5", "\\boxed{x^2=5}"),
    ("5", "\\boxed{3=5}"),
    ("5", "\\boxed{2+2=5}"),
    ("5", "\\boxed{4=x=5}"),
    ("|x|=5", "\\boxed{x=5}"),
    ("x=5", "\\boxed{|x|=5}"),
    ("|x+3|", "\\boxed{x+3}"),
    ("\\sqrt{(x+5)^2}", "\\boxed{x+5}"),
    ("\\min(x,10)", "\\boxed{x}"),
    ("\\gcd(n,11)", "\\boxed{1}"),
    ("e^{-200}", "\\boxed{0}"),
    ("e^{-200}", "\\boxed{e^{-300}}"),
    ("x+e^{-200}", "\\boxed{x}"),
    ("10^{50}+\\pi", "\\boxed{10^{50}+e}"),
    ("1", "\\boxed{1-e^{-100}}"),
    ("1", "\\boxed{\\tanh(100)}"),
    ("2^{100}", "\\boxed{\\sqrt{2^{200}+1}}"),
    ("x=1,y=2", "\\boxed{2,1}"),
    ("x=1,y=2", "\\boxed{\\{2,1\\}}"),
    ("x_1=5", "\\boxed{x_2=5}"),
    ("f(1)=5", "\\boxed{f(2)=5}"),
    ("AB=5", "\\boxed{CD=5}"),
    ("0.333...", "\\boxed{0.333}"),
    ("5", "1\\boxed{5}"),
    ("5", "2\\boxed{5}"),
    ("5", "\\boxed{5}0"),
    ("5", "\\boxed{5}.5"),
    ("5", "\\boxed{5}/7"),
    ("5", "\\boxed{5}^2"),
    ("5", "\\boxed{5}!"),
    ("5", "\\boxed{5}\\times 10^3"),
    ("5", "\\boxed{5} million"),
    ("5", "\\frac{1}{\\boxed{5}}"),
    ("5", "10^{\\boxed{5}}"),
    ("5", "$-$\\boxed{5}"),
    ("5", "minus \\boxed{5}"),
    ("5", "x \\ne \\boxed{5}"),
    ("5", "x > \\boxed{5}"),
    ("5", "The answer is not \\boxed{5}."),
    ("5", "$x = -2\\cdot\\boxed{5}$"),
    ("5", "\\boxed{5}\n\nFinal answer: x=7"),
    ("5", "\\boxed{5}\nFinal answer: $\\sqrt{7}$"),
    ("5", "\\boxed{5}\n#### 7\nThe answer is above."),
    ("5", "\\boxed{5} Wait, I made a mistake. It should be 7."),
    ("5", "\\boxed{5} Correction: 7"),
    ("5", "\\boxed{5} Actually no, it is 7."),
    ("5", "\\boxed{5\\text{ tenths}}"),
    ("5", "\\boxed{5\\text{ negative}}"),
    ("5", "\\boxed{5\\text{ wrong}}"),
    ("5", "\\boxed{5\\text{ dozens}}"),
    ("5", "#### 5 thousands"),
    ("5", "#### 5 thousandths"),
    ("90", "\\boxed{90 \\text{ radians}}"),
    ("5", "\\boxed{5 \\text{ for all } n>3}"),
    ("3", "\\boxed{\\text{The wrong answer is } 3}"),
    ("x \\equiv 3 \\pmod 7", "\\boxed{2x \\equiv 3 \\pmod 7}"),
    ("x \\equiv 3 \\pmod 7", "\\boxed{x \\not\\equiv 3 \\pmod 7}"),
    ("x>2", "\\boxed{\\{2x : x>2\\}}"),
    ("x>2", "\\boxed{y>2}"),
    ("1000.0", "\\boxed{1000.04}"),
    ("1234.56", "\\boxed{1234.6}"),
    ("1", "\\boxed{1\\%}"),
    ("\\text{now here}", "\\boxed{\\text{nowhere}}"),
    ("\\text{a man}", "\\boxed{\\text{am an}}"),
    ("\\text{act}", "\\boxed{\\text{cat}}"),
    ("\\text{act}", "\\boxed{cat}"),
    ("5", "<thinking>\\boxed{5}</thinking> I don't know"),
    ("5", "<|begin_of_thought|>\\boxed{5}<|end_of_thought|> I don't know."),
    ("5", "I doubt that the answer is 5."),
    ("5", "The answer is 5? No."),
    ("404", "HTTP error 404"),
    ("5", "Sorry, I can answer only 5 questions"),
    ("5", "Alice says the answer is 5. She is wrong."),
    ("0", "\\boxed{[0]*10**12}"),
]
"""Gold answer and reply."""

THE_ANSWER = [
    ("5", "The answer is 5, not 7."),
    ("25", "\\boxed{\\text{twenty-five}}"),
    ("1/3", "\\boxed{0.333...}"),
    ("\\text{red}", "\\boxed{\\text{the red}}"),
    ("5", "The answer is \\boxed{5}. I used <think> tags"),
    ("5", "$x = \\boxed{5}$"),
    ("5", "So **\\boxed{5}**"),
    ("5", "- \\boxed{5}"),
    ("5", "\\boxed{5}^\\circ"),
    ("50", "\\boxed{50}\\%"),
    ("5", "$$\\boxed{5}$$\n\nThis is correct since 2+3=5."),
    ("5", "The answer is 5."),
    ("-5", "$x=-\\boxed{5}$"),
    ("x>2", "\\boxed{(2,\\infty)}"),
    ("[2,5)", "\\boxed{2 \\le x < 5}"),
    ("149", "\\boxed{m+n=149}"),
    ("\\cosh^2 x-\\sinh^2 x", "\\boxed{1}"),
    ("\\sin^2 x+\\cos^2 x", "\\boxed{1}"),
    ("5", "\\[\\boxed{5}\\] dollars"),
    ("5", "Answer: \\boxed{5}, which is what we wanted."),
    ("12", "\\boxed{S = 3\\cdot 4 = 12}"),
    ("12", "\\boxed{3 \\cdot 4 = 12}"),
]

PIECES = ["\\[", "\\(", "\\]", "\\)", "$", "*", "\\left", "{", "}", "(", ",", "a ", "1,", "\\text{", "x=", "**", "`"]
PIECES += ["- ", "The answer is ", "\n- ", "<think>", "\\boxed{", "= ", "#### "]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(VerifySettings(judges=2)) as opened:
        yield opened


def verdicts(verifier: Verifier, pairs: list[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
    told = verifier.verify([Submission("math", gold, reply, "stop") for gold, reply in pairs])
    return [(gold, reply, said.verdict, said.why) for (gold, reply), said in zip(pairs, told, strict=True)]


def test_what_is_not_the_answer_never_passes(verifier: Verifier) -> None:
    assert [told for told in verdicts(verifier, NOT_THE_ANSWER) if told[2] == "correct"] == []


def test_what_only_looks_odd_passes(verifier: Verifier) -> None:
    assert [told for told in verdicts(verifier, THE_ANSWER) if told[2] != "correct"] == []


def test_answers_that_could_not_be_told_are_not_wrong(verifier: Verifier) -> None:
    doubtful = [("5", "\\boxed{5 \\text{ or less}}\nAnswer: 5"), ("x^3", "\\boxed{\\oint x}"), ("5", "2\\boxed{5}")]
    assert [told for told in verdicts(verifier, doubtful) if told[2] == "correct"] == []
    assert verdicts(verifier, doubtful)[1][2] == "undecided"
    assert verdicts(verifier, doubtful)[2][2] == "undecided"


def test_votes_count_equal_answers_once_and_never_make_classes_up(verifier: Verifier) -> None:
    found = ["\\frac{1}{2}", "0.5", None, "\\sin 30^\\circ", "1/3", "x+1", "1+x", "x=1,y=2", "2,1"]
    assert verifier.votes("math", found) == [0, 0, None, 0, 1, 2, 2, 3, 4]
    assert verifier.votes("choice", ["B", "(b)", "A"]) == [0, 0, 1]
    assert verifier.votes("code", ["print(1)", "print(1)"]) == [None, None]
    # All share one limit; where it is passed nobody knows which are equal.
    with Verifier(VerifySettings(timeout_s=0.01)) as hurried:
        assert hurried.votes("math", ["\\tan^9(x+y)\\sin^8(x)", "\\sin^8(x)\\tan^9(y+x)"]) == [None] * 2


@pytest.mark.parametrize("piece", PIECES)
def test_taking_answers_out_is_linear(piece: str) -> None:
    for before, after in (("", ""), ("\\boxed{", "}"), ("The answer is ", "")):
        started = time.process_time()
        for kind in ("math", "choice", "text"):
            try:
                final_answers(before + piece * (100_000 // len(piece)) + after, kind=kind, gold="5")
            except Unclear:
                continue
        assert time.process_time() - started < 2
