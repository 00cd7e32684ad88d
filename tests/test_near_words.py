"""Canonical words: one writing after another of the same thing, and texts made to take long."""

import time

import pytest

from pipeline.alike.words import numbers, words

SAME = [
    [r"\frac{1}{2}", r"$\dfrac{1}{2}$", "1/2", "½", "one half", "half"],
    ["x^{2}", "x^2", "x²", r"\(x^{2}\)", "X**2", "𝑥²"],
    [r"2 \cdot x", r"2\times x", "2*x", "2x", "2·x", "2 × x"],
    [r"\sqrt{3}", "√3", "sqrt(3)", r"\sqrt 3"],
    [r"90^\circ", r"90^{\circ}", "90°", "90 degrees", "90º"],
    [r"5\text{ cm}", "5cm", "5 cm", r"5\,\mathrm{cm}"],
    ["1{,}000", "1,000", "1000", r"1\,000", "thousand", "one thousand"],
    [r"\$5", "$5", "five", "５"],
    [r"a \le b", r"a\leq b", "a ≤ b", "a <= b"],
    ["twenty-one sheep", "21 sheep", "Twenty One sheep"],
    ["two hundred and five", "205", "two hundred five"],
    ["2.5 million", "2,500,000", "2500000.0"],
    ["twice as many", "2 times as many", "two times as many"],
    [r"\pi r^2", "πr²", "pi r^2"],
    ["Tom’s 3-digit number", "Tom's 3 digit number", "**Tom's** 3‑digit number"],
    [r"\left( x+1 \right)", "(x + 1)", r"\Bigl(x+1\Bigr)"],
    ["two-thirds of it", "2/3 of it", r"\frac{2}{3} of it"],
]
OTHER = [
    ("x + 1", "x - 1"),
    ("a < b", "a > b"),
    ("1.5", "15"),
    ("0011", "11"),
    ("the largest", "the smallest"),
    ("5 cm", "5 m"),
    ("two and five", "25"),
]


@pytest.mark.parametrize("writings", SAME, ids=lambda writings: writings[0])
def test_writings_of_one_thing_have_the_same_words(writings: list[str]) -> None:
    first, *others = writings
    assert words(first)
    for other in others:
        assert words(other) == words(first), other


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_other_things_have_other_words(a: str, b: str) -> None:
    assert words(a) != words(b)


def test_words_in_full() -> None:
    text = r"Tom's 2 dogs ate $1{,}500.50 worth: find \(x^2 - 3\) if $\frac{x}{2} \ge 7$, please!"
    assert " ".join(words(text)) == "tom 2 dogs ate 1500.5 worth find x 2 - 3 if x 2 >= 7 please"
    assert words("已知 f(x)=2x，求") == ["已", "知", "f", "x", "=", "2", "x", "求"]
    assert words("") == words("\\") == words(" {}$$ \x00\x07") == []


def test_numbers_are_a_sorted_multiset() -> None:
    assert numbers(words("Five dogs, 3 cats, 5 cows and 1/2 a pie")) == ("1", "2", "3", "5", "5")
    assert numbers(words("no such thing")) == ()


@pytest.mark.parametrize("piece", ["a", "- ", "1,000", "\\", "{", "one ", "x² ", "\\begin{", "million "])
def test_a_million_characters_take_no_second(piece: str) -> None:
    text = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    found = words(text)
    assert time.process_time() - started < 2.5  # a second here, with room for a slower machine
    assert all(len(word) <= 200 for word in found)
