"""The rules on one problem and the normalising before them, on hand-made rows: what is dropped and what is not."""

import time

import pytest

from pipeline.curate import CurateSettings
from pipeline.record import KINDS, Problem
from pipeline.rules.answer_types import answer_type
from pipeline.rules.normalise import normal_answer, normal_prompt
from pipeline.rules.row import RULES, unfit
from pipeline.rules.settings import AnswerTypeSettings, LanguageSettings, LengthSettings, MultipleAnswersSettings

ALL = CurateSettings()


def row(prompt: str, answer: str = "5", kind: str = "math") -> Problem:
    return Problem(
        id="", source="", kind=kind, prompt=prompt, answer=answer, solution="", licence="", drop=None, drop_why=None
    )


def judged(name: str, prompt: str, answer: str = "5", settings: CurateSettings = ALL) -> str | None:
    return RULES[name].judge(row(prompt, answer), settings)


DROPPED = [
    ("image", r"[asy] draw((0,0)--(1,1)); [/asy] Find $x$.", "5"),
    ("image", r"\begin{tikzpicture}\draw (0,0);\end{tikzpicture} Find $x$.", "5"),
    ("image", "The table below shows the prices. What does a pen cost?", "5"),
    ("image", "如图，三角形ABC的面积是多少？", "5"),
    ("proof", "Prove that $x^2 \\ge 0$ for all real $x$.", "see"),
    ("proof", "Let $n$ be odd. Show that $n^2 - 1$ is divisible by $8$.", "see"),
    ("proof", "证明：根号二是无理数。", "见"),
    ("open_ended", "Explain why the sky is blue.", "Rayleigh scattering"),
    ("open_ended", "Describe a game that is fair.", "any"),
    ("multi_part", "A cube has edge 2. (a) What is its volume? (b) What is its surface?", "8"),
    ("multi_part", "Let $f(x)=x^2$.\n1. Find $f(2)$.\n2. Find $f(3)$.", "4"),
    ("multi_part", "A car goes 60 km/h. i) How far does it go in 2 h? ii) How long does it take for 30 km?", "120"),
    ("given_away", "What is $2+3$? Answer: 5", "5"),
    ("given_away", "What is $2+3$? The answer is $\\boxed{5}$.", "5"),
    ("given_away", "What is 1/2 of 10?\nSolution: Half of ten is 5, which we see at once.", "5"),
    ("broken_latex", "Find $x if $x+1=2$.", "1"),
    ("broken_latex", r"Compute $\frac{1}{2$.", "1"),
    ("broken_latex", r"Compute $\left( \frac{1}{2} + 1$.", "1"),
    ("broken_latex", r"Solve \begin{align} x &= 1", "1"),
    ("broken_latex", r"Compute $\frac{1}$ of 10.", "1"),
    ("broken_latex", "What is 3 Ã— 4?", "12"),
    ("too_short", "Find x.", "5"),
    ("no_answer", "What is 2 + 3?", "N/A"),
    ("multiple_answers", "Solve $x^2=3x-2$.", "1 or 2"),
    ("multiple_answers", "Solve it.", "x=1, y=2"),
    ("multiple_answers", "Solve it.", r"\boxed{1}, \boxed{2}"),
    ("multiple_answers", "Solve it.", r"1 \pm \sqrt{2}"),
]

KEPT = [
    ("image", "Four distinct circles are drawn in a plane. At most how many points lie on two of them?", "12"),
    ("image", "A cinema has 6 screens. How many movies are shown in total throughout the day?", "24"),
    ("image", "Ben hangs a picture 2 m above the floor. How many people are in the picture?", "3"),
    ("image", "As the table below shows,\n\\begin{tabular}{c|c} 1 & 2 \\end{tabular}\nwhat is $f(1)$?", "2"),
    (
        "proof",
        "Ann wants to prove that she is fast. She runs 5 km in 20 minutes. How far does she run in an hour?",
        "15",
    ),
    ("proof", "Prove that $x$ is even and find $x$.", "2"),
    ("proof", "It can be shown that $x=2y$. What is $x$ for $y=1$?", "2"),
    ("open_ended", "How many apples are left? Explain your reasoning.", "3"),
    ("multi_part", "What is $1+1$? (A) 1 (B) 2 (C) 3 (D) 4", "2"),
    ("multi_part", "A function has (i) $f(1)=2$ and (ii) $f(x+1)=2f(x)$. Find $f(3)$.", "8"),
    ("given_away", "Tom has 5 apples and eats none. How many has he?", "5"),
    ("given_away", "If the answer is 8 when 3 is added to a number, what is the number?", "5"),
    ("given_away", "Is 7 prime? Answer: yes or no", "yes"),
    ("broken_latex", "A pen costs $5 and a book $7. Ann has $20. How many dollars are left?", "8"),
    ("broken_latex", "A pen costs $5 and $x^2 = 9$ with $x>0$. How much do $x$ pens cost?", "15"),
    ("broken_latex", r"Let $S = \{1,2\}$ and $T = \left\{ 3 \right\}$. Find $|S \cup T|$.", "3"),
    ("too_short", "17*23=?", "391"),
    ("no_answer", "For which real $x$ is $x^2=-1$?", "none"),
    ("multiple_answers", "Give it as an interval.", r"\left(1, 2\right]"),
    ("multiple_answers", "Give the set.", r"\{1, 2\}"),
    ("multiple_answers", "How long?", "2 hours and 30 minutes"),
    ("multiple_answers", "How many?", "1,234,567"),
    ("multiple_answers", "Where?", r"x < 1 \text{ or } x > 2"),
]


@pytest.mark.parametrize(("name", "prompt", "answer"), DROPPED)
def test_what_a_rule_drops_it_says_why(name: str, prompt: str, answer: str) -> None:
    assert judged(name, prompt, answer)


@pytest.mark.parametrize(("name", "prompt", "answer"), KEPT)
def test_what_only_looks_like_it_is_kept(name: str, prompt: str, answer: str) -> None:
    assert judged(name, prompt, answer) is None


def test_the_length_of_a_problem_is_what_its_settings_say() -> None:
    short = CurateSettings(length=LengthSettings(longest_characters=10, longest_words=2, shortest_words=0))
    assert judged("too_long", "x" * 11, settings=short) == "11 characters, more than 10"
    assert judged("too_long", "a b c", settings=short) == "3 words, more than 2"
    assert judged("too_long", "a b", settings=short) is None
    assert judged("too_short", "", settings=short) is None


def test_a_language_is_dropped_only_when_another_is_wanted_and_it_can_be_told() -> None:
    english = CurateSettings(language=LanguageSettings(wanted=("en",)))
    german = "Wie viele Äpfel hat Hans, wenn er zwei von fünf Äpfeln isst?"
    assert judged("language", german) is None
    assert judged("language", german, settings=english) == "it is in de, wanted: en"
    assert judged("language", "$x^2=4$", settings=english) is None
    with pytest.raises(ValueError, match="ISO 639-1"):
        LanguageSettings(wanted=("English",))


def test_answers_are_of_the_type_they_are_written_in() -> None:
    types = {
        "5": "integer", "1,000": "integer", "0.5": "decimal", "50\\%": "decimal", r"\frac{1}{2}": "fraction",
        "3/4": "fraction", r"2\sqrt{3}": "numeric", r"\frac{\pi}{2}": "numeric", "x^2+1": "expression",
        "y = 2x + 1": "expression", "(1,2)": "tuple", r"\{1, 2\}": "set", r"(-\infty, 3]": "interval",
        r"x^2 + y^2 = 4": "equation", "(B)": "choice", r"\text{Tuesday}": "text",
    }  # fmt: skip
    assert {gold: answer_type(gold) for gold in types} == types


def test_only_wanted_types_of_answers_are_kept() -> None:
    numeric = CurateSettings(answer_type=AnswerTypeSettings(wanted=("numeric",)))
    assert [judged("answer_type", "?", gold, numeric) for gold in ("5", r"\sqrt{2}", "0.5")] == [None] * 3
    assert judged("answer_type", "?", "x+1", numeric) == "expression: x+1"
    assert judged("answer_type", "?", "x+1") is None


def test_a_bracketed_answer_is_several_where_the_recipe_says_so() -> None:
    several = CurateSettings(multiple_answers=MultipleAnswersSettings(bracketed="drop"))
    assert judged("multiple_answers", "?", "(1, 2)", several)
    assert judged("multiple_answers", "?", "(x+1)", several) is None


def test_rules_on_wording_leave_programs_and_tasks_alone() -> None:
    hostile = "Prove that (a) why? (b) what? [asy] Answer: 5 \\frac{ in the figure"
    for kind in KINDS - {"math", "text", "choice"}:
        asked = {name for name, rule in RULES.items() if kind in rule.kinds}
        assert asked == {"no_prompt", "no_answer", "too_long", "language", "bad_gold"}
    assert unfit(row(hostile, kind="judge"), ALL, rules=ALL.rules) is None
    assert unfit(row(hostile), ALL, rules=ALL.rules) is not None


def test_rules_that_are_off_are_not_asked_and_three_always_are() -> None:
    assert unfit(row("[asy] x [/asy]"), ALL, rules=()) is None
    assert [unfit(one, ALL, rules=()) for one in (row(""), row("a", ""))] == [("no_prompt", ""), ("no_answer", "")]
    found = unfit(row("What?", "((("), ALL, rules=())
    assert found is not None
    assert found[0] == "bad_gold"


NORMAL = [
    ("Problem 3. Find $x$.", "Find $x$."),
    ("**Question 12:** How many?", "How many?"),
    ("(5 points) Find $x$.", "Find $x$."),
    ("[AIME 2020] Find $x$.", "Find $x$."),
    ("Problem 4. (10 points) Find $x$.", "Find $x$."),
    ("12. Find $x$.", "Find $x$."),
    (r"Find $x$. Please reason step by step, and put your final answer within \boxed{}.", "Find $x$."),
    ("Find $x$.\nLet's think step by step.", "Find $x$."),
    ("a<br>b &lt; c &amp; d", "a\nb < c & d"),
    ("x<sup>2</sup> + <b>y</b>", "x^{2} + y"),
    ("a\u200bb\u00a0c\r\nd\ufeff", "ab c\nd"),
    ("$\x0crac{1}{2} \times 3$", "$\\frac{1}{2} \\times 3$"),
    ("Cafe\u0301 costs", "Caf\u00e9 costs"),
]
SAME = [
    "1. What is $2$? 2. What is $3$?",
    "3.5 of 7 is what?",
    "Is $a<b>c$ possible for $a < b$ and $c > d$?",
    r"\begin{align} a &= b \\ c &= d \end{align}",
    "Each question is worth 5 points. How many points do 3 questions give?",
    "She runs  two   miles.\n\nHow far?",
    "Problem solving takes 5 minutes. How long do 3 take?",
    "Question 3 is worth 5 points more than question 2. What are both worth?",
]


@pytest.mark.parametrize(("prompt", "clean"), NORMAL)
def test_what_a_source_put_around_a_prompt_is_taken_away(prompt: str, clean: str) -> None:
    assert normal_prompt(prompt, kind="math") == clean
    assert normal_prompt(clean, kind="math") == clean
    assert normal_prompt(prompt, kind="gym") == prompt


@pytest.mark.parametrize("prompt", SAME)
def test_a_clean_prompt_stays_as_it_is(prompt: str) -> None:
    assert normal_prompt(prompt, kind="math") is prompt


def test_answers_lose_their_wrapping_and_nothing_else() -> None:
    wrapped = {
        "$5$": "5", r"\boxed{5}": "5", r"$\boxed{\frac{1}{2}}$": r"\frac{1}{2}", r"\(x+1\)": "x+1",
        "The answer is 5.": "5", "Answer: $x=1$": "x=1", "#### 72": "72",
    }  # fmt: skip
    assert {text: normal_answer(text, kind="math") for text in wrapped} == wrapped
    for text in ("5", "$1$ and $2$", r"\boxed{1}, \boxed{2}", r"\$5", "$5", "(1, 2)", r"\text{no}", r"\{1\}"):
        assert normal_answer(text, kind="math") is text
    assert normal_answer("$5$", kind="code") == "$5$"


@pytest.mark.parametrize(
    "unit", ["a", "$", "{", "(a) ", "what ? ", "\\frac{", "in the ", "<b>", "&a", "</b>", "\n", " \n"]
)
def test_a_million_characters_hold_nothing_up(unit: str) -> None:
    text = (unit * 1_000_000)[:1_000_000]
    begun = time.perf_counter()
    found = unfit(row(normal_prompt(text, kind="math")), ALL, rules=ALL.rules)
    unfit(row("What is 1 + 1?", normal_answer(text, kind="math")), ALL, rules=ALL.rules)
    assert time.perf_counter() - begun < 1.5
    assert found is not None
