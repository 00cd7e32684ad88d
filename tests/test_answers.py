"""Taking the final answer out of a reply, and the exact value of written numbers."""

import time
from fractions import Fraction

from pipeline.answers import final_answers
from pipeline.prompts import split
from pipeline.written import exact_number, normal, same_text


def found(reply: str, *, kind: str = "math", gold: str = "5") -> str | None:
    """The one answer of a reply, None without any."""
    answers = final_answers(reply, kind=kind, gold=gold)
    assert len(answers) < 2, answers
    return answers[0] if answers else None


def test_the_last_box_counts() -> None:
    assert found("First \\boxed{4}. No: \\boxed{5}") == "5"
    assert found("The answer is 4. So \\boxed{5}.") == "5"


def test_another_answer_behind_the_box_is_a_second_one() -> None:
    assert final_answers("So \\boxed{5}, as the answer is 6.", kind="math", gold="5") == ["5", "6"]
    assert final_answers("So \\boxed{5}. The answer is 5.", kind="math", gold="5") == ["5"]


def test_a_box_keeps_its_inner_braces() -> None:
    assert found("\\boxed{\\frac{1}{\\sqrt{2}}} done") == "\\frac{1}{\\sqrt{2}}"
    assert found("\\boxed{\\{1, 2\\}}") == "\\{1, 2\\}"
    assert found("\\boxed {5}") == "5"
    assert found("\\fbox{5}") == "5"


def test_a_cut_off_last_box_is_no_answer_whatever_stands_before() -> None:
    assert found("So \\boxed{5}. In other words \\boxed{\\frac{10}{2") is None
    assert found("The answer is 5, that is \\boxed{5") is None
    assert found("\\boxed{") is None


def test_an_empty_box_is_no_answer() -> None:
    assert found("\\boxed{}") is None
    assert found("\\boxed{5} and \\boxed{ }") is None


def test_a_box_in_the_thought_is_not_looked_at() -> None:
    taken = split("<think>\\boxed{5} maybe</think> I do not know.", truncated=False)
    assert found(taken.reply) is None
    taken = split("<think>\\boxed{4}, the answer is 4</think>\\boxed{5}", truncated=False)
    assert found(taken.reply) == "5"


def test_stated_forms_count() -> None:
    stated = {
        "She has 18 left.\nA: 18": "18",
        "18 it is\n#### 18": "18",
        "So the answer is **18**.": "18",
        "The answer is $18$": "18",
        "The answer is: 18.": "18",
        "Final answer: 18": "18",
        "**Final answer:** 18": "18",
        "Answer = 18": "18",
        "The final answer is $\\frac{36}{2}$.": "\\frac{36}{2}",
        "The answer is 18 dollars per day.": "18",
        "The answer is 18. She is glad.": "18",
        "The answer would be 3x + 2": "3x + 2",
    }
    for reply, answer in stated.items():
        assert found(reply, gold="7") == answer, reply


def test_the_last_statement_counts() -> None:
    assert found("The answer is 4.\nNo wait, the answer is 5.") == "5"


def test_one_number_in_the_last_line_is_what_it_says() -> None:
    assert found("Then we add.\nShe makes $1,234.50 a day.") == "1,234.50"
    assert found("10 - 5 = 5") == "5"
    assert found("-5") == "-5"


def test_two_different_numbers_in_the_last_line_are_no_answer() -> None:
    assert found("It is 4 or 5.") is None
    assert found("10 - 5 = 5, or 6") is None


def test_a_number_is_not_guessed_where_the_gold_answer_is_none() -> None:
    assert found("There are 2 roots.", gold="\\sqrt{2}") is None


def test_nothing_said_is_no_answer() -> None:
    for kind in ("math", "text", "choice"):
        assert found("", kind=kind) is None
        assert found(" \n\n ", kind=kind) is None


def test_text_answers_are_taken_out_of_quotes_or_a_bare_word() -> None:
    assert found('Backward it is "olleh".', kind="text", gold="olleh") == "olleh"
    assert found("Let me see.\nolleh", kind="text", gold="olleh") == "olleh"
    assert found("The answer is **olleh**.", kind="text", gold="olleh") == "olleh"
    assert found("Well.\nI would rather not say", kind="text", gold="say") is None
    assert found("of, LICENSE", kind="text", gold="OF, LICENSE") == "of, LICENSE"


def test_a_choice_that_is_plainly_stated_counts() -> None:
    for reply in ("The answer is (B).", "The answer is B.", "Answer: B", "B", "**B**", "(B)"):
        answer = found(reply, kind="choice", gold="B")
        assert answer is not None, reply
        assert answer.strip("().* ") == "B", reply


def test_written_numbers_have_their_exact_value() -> None:
    written = {
        "18": Fraction(18),
        "-18": Fraction(-18),
        "+18": Fraction(18),
        "1,234,567": Fraction(1234567),
        "$1,234.50": Fraction(12345, 10),
        "\\$18": Fraction(18),
        "0.1": Fraction(1, 10),
        ".5": Fraction(1, 2),
        "5.": Fraction(5),
        "5.000": Fraction(5),
        "1/3": Fraction(1, 3),
        "-1/3": Fraction(-1, 3),
        "\\frac{1}{3}": Fraction(1, 3),
        "-\\dfrac{1}{3}": Fraction(-1, 3),
        "\\frac{-1}{3}": Fraction(-1, 3),
        "\\frac12": Fraction(1, 2),
        "10^{-20}": Fraction(1, 10**20),
        "10^6": Fraction(10**6),
        "3 \\times 10^{-4}": Fraction(3, 10**4),
        "6.02 \\cdot 10^{23}": Fraction(602 * 10**21),
        "1e-5": Fraction(1, 10**5),
        "72^\\circ": Fraction(72),
        "18\\%": Fraction(18),
        "\\text{18}": Fraction(18),
    }
    for text, value in written.items():
        assert exact_number(text) == value, text


def test_close_powers_differ() -> None:
    assert exact_number("10^{-20}") != exact_number("10^{-21}")
    assert exact_number("0.1") != exact_number("0.10000000000000000001")


def test_what_is_no_plain_number_has_no_exact_value() -> None:
    for text in ("", "x", "1/0", "\\frac{1}{0}", "1,23", "12,34", "2x", "\\sqrt{2}", "1 2", "1.2.3", "--1", "5 apples"):
        assert exact_number(text) is None, text


def test_endless_digits_do_not_break_the_reader() -> None:
    # A model in a loop writes these; Python refuses to read more than 4,300 digits.
    for text in ("1" * 5000, "0." + "3" * 5000, "1/" + "7" * 5000):
        value = exact_number(text)
        assert value is None or value != 5
        assert found(f"\\boxed{{{text}}}") == text
        assert found(f"So it is\n{text}") != "5"


def test_long_empty_stretches_cost_no_time() -> None:
    started = time.monotonic()
    found("\n" * 10_000 + "x")
    found("The answer is x" + " " * 10_000 + "y")
    found("*$" * 2000, kind="text")
    assert time.monotonic() - started < 1.5


def test_normal_takes_off_only_what_no_answer_depends_on() -> None:
    assert normal(" $\\displaystyle \\frac{1}{2}$. ") == "\\frac{1}{2}"
    assert normal("\\left( 3, \\frac{\\pi}{2} \\right)") == "( 3, \\frac{\\pi}{2} )"
    assert normal("**\\text{Evelyn}**") == "Evelyn"
    assert normal("-5") != normal("5")


def test_same_text_ignores_case_space_and_quotes_only() -> None:
    assert same_text("\\text{ Hello  World }", '"hello world"')
    assert not same_text("ab", "a b")
    assert not same_text("olleh", "hello")
