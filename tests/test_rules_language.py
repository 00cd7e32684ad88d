"""Languages: short problems of many tongues, mathematics that has none, and long texts that switch."""

import itertools
import json
import socket
import time
from pathlib import Path

import pytest

from pipeline.language import UNKNOWN, Piece, language, languages, other_scripts, words_only

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

# Each is a short problem as a source would have it, named by who wrote it: the test's author.
SAID = {
    "en": [
        "How many apples are left if Tom eats $3$ of his $10$?",
        "What is the sum of all prime numbers below $20$?",
    ],
    "zh": ["小明有5个苹果，他给了小红2个，还剩几个？", "求函数$f(x)=x^2$的最小值"],
    "ja": ["太郎は5個のリンゴを持っています。2個あげました。", "$x$の値を求めよ"],
    "ko": ["철수는 사과 5개를 가지고 있다. 2개를 주면 몇 개가 남는가?"],
    "es": [
        "Juan tiene 5 manzanas y le da 2 a su hermana. ¿Cuántas quedan?",
        "Encuentra el valor de $x$ si $x+1=2$.",
    ],
    "fr": ["Combien de pommes reste-t-il à Jean ?", "Trouver la valeur de $x$ telle que $x + 1 = 2$."],
    "de": ["Wie viele Äpfel hat er noch?", "Berechne den Wert von $x$, wenn $x+1=2$ gilt."],
    "ru": ["У Пети было 5 яблок, он отдал Маше 2. Сколько яблок осталось?"],
    "pt": ["João tem 5 maçãs e dá 2 à sua irmã. Quantas maçãs lhe restam?"],
    "it": ["Marco ha cinque mele e ne regala due a sua sorella. Quante mele gli restano?"],
}


def test_short_problems_of_many_languages() -> None:
    assert {text: language(text) for texts in SAID.values() for text in texts} == {
        text: name for name, texts in SAID.items() for text in texts
    }


def test_too_few_words_are_no_language() -> None:
    for text in ["", "Evaluate $1+1$.", "$x^2 + y^2 = z^2$", r"\[\int_0^1 \sin x \, dx\]", "12 + 5 = ?", "α + β = γ"]:
        assert language(text) == UNKNOWN, text


def test_mathematics_and_code_are_taken_out_and_prices_stay() -> None:
    assert words_only(r"Let $\sin x$ be \text{at most} 5cm. ```print(x)``` [asy] draw(a); [/asy] End") == (
        "Let be at most cm End"
    )
    assert words_only("She pays $5 for two red apples and $7 for bread.") == (
        "She pays for two red apples and for bread"
    )


def test_the_model_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline import language as module

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    module._model.cache_clear()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert language("Wie viele Äpfel hat er noch?") == "de"


def test_a_long_text_that_switches_says_where() -> None:
    english = "We add the two numbers and then we see what comes out of it, step by step. " * 20
    chinese = "接下来我们需要计算这个值，然后得到答案。" * 50
    found = languages(english + chinese + english)
    assert [piece.language for piece in found] == ["en", "zh", "en"]
    assert found[0].start == 0
    assert found[-1].stop == len(english + chinese + english)
    assert all(a.stop == b.start for a, b in itertools.pairwise(found))
    assert abs(found[1].start - len(english)) < 400
    assert languages("") == []


def test_a_word_of_another_script_is_found_and_mathematics_is_none() -> None:
    text = "We compute 首先 the αβ value, λ and Δ. Затем we stop."
    assert other_scripts(text) == [Piece(11, 13, "han"), Piece(37, 42, "cyrillic")]
    assert other_scripts("plain") == []


@pytest.mark.parametrize("unit", ["x ", "$", "`", "[asy]", "<a", r"\(", "a'", "中 ", r"\begin{", "é", "中,"])
def test_a_million_characters_take_no_time(unit: str) -> None:
    text = (unit * 1_000_000)[:1_000_000]
    begun = time.perf_counter()
    language(text)
    other_scripts(text)
    languages(text[:50_000])
    assert time.perf_counter() - begun < 1.5


@pytest.mark.data
def test_real_english_problems_are_never_called_foreign() -> None:
    if not (DATA / "math500.jsonl").is_file():
        pytest.skip(f"no {DATA / 'math500.jsonl'}: put the project's shared data beside the checkout")
    rows = [json.loads(line) for line in (DATA / "math500.jsonl").open()]
    rows += [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").open()]
    found = [language(row.get("problem") or row["question"]) for row in rows]
    assert set(found) <= {"en", UNKNOWN}
    assert len(found) == 1819
    assert found.count("en") > 1700
