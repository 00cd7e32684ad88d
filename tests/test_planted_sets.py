"""The planted sets say what they claim: changes keep or change the numbers, fillers differ, known pairs are there."""

import re
from collections import Counter
from random import Random

import orjson
import pytest
from planted.changes import Change
from planted.near import (
    CHANGES,
    DUPLICATE,
    HERE,
    both,
    other_numbers,
    pairs,
    paraphrases,
    planted,
    reformatted,
    renamed,
    reworded,
    rows,
)

TEXTS = (
    "Mary had 89 stickers. She used three large stickers on the front page and 7 stickers each on 6 other pages. "
    "If Mary gives 12 stickers to Tom, how many stickers does Mary have left?",
    "Penny buys 4 pairs of socks for $2 a pair, and a hat for $1,250. How much money does Penny need altogether?",
    "Let $f(x) = 3x^2 + 5x - 17$ and let $a$ be a positive integer such that $f(a) = \\frac{25}{4}$. What is the "
    "smallest possible value of $a$? Express your answer as a common fraction.",
    "In triangle $ABC$ we have $AB = 13$, $BC = 14$, $AC = 15$. Find the area of the triangle.",
)
SPELLED = (
    "two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9 ten 10 eleven 11 twelve 12 fifteen 15 twenty 20 thirty 30"
)
WORDS = dict(zip(*[iter(f"{SPELLED} forty 40 fifty 50".split())] * 2, strict=True))
SUPERSCRIPTS = str.maketrans({"²": " 2 ", "³": " 3 "})


def numbers(text: str) -> Counter[str]:
    """All numbers of a text, written here anew and simply: digits, number words, superscripts."""
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text.translate(SUPERSCRIPTS))
    plain = re.sub(r"[A-Za-z]+", lambda found: WORDS.get(found.group().lower(), found.group()), plain)
    return Counter(re.findall(r"\d+", plain))


@pytest.mark.parametrize("change", [renamed, reworded, reformatted, both])
def test_a_duplicate_keeps_every_number_and_changes_the_text(change: Change) -> None:
    seen = 0
    for text in (*TEXTS, *(row.problem for row in rows(180, seed=3))):
        for draw in range(3):
            after = change(text, Random(draw))
            assert numbers(after) == numbers(text), (text, after)
            seen += after != text
    assert seen > 0.8 * 3 * (len(TEXTS) + 180)


def test_renaming_is_consistent() -> None:
    after = renamed(TEXTS[0], Random(1))
    assert "Mary" not in after
    assert not re.search(r"\bTom\b", after)
    assert "stickers" not in after
    name, thing = re.findall(r"^(\w+) had 89 (\w+)", after)[0]
    assert after.count(name) == 3
    assert after.count(thing) == 5
    letters = re.findall(r"\$f?.?\((.)\) = 3(.)\^2 \+ 5(.)", renamed(TEXTS[2], Random(1)))[0]
    assert len(set(letters)) == 1


def test_other_numbers_change_the_numbers_and_no_word() -> None:
    for text in TEXTS:
        after = other_numbers(text, Random(5))
        assert numbers(after) != numbers(text)
        digits = [
            re.sub("[A-Za-z]+", lambda found: WORDS.get(found.group(), found.group()), one) for one in (text, after)
        ]
        assert re.sub(r"[\d,]+", "0", digits[0]) == re.sub(r"[\d,]+", "0", digits[1])


def test_fillers_of_one_story_never_share_their_numbers() -> None:
    made = list(rows(4500, seed=2))
    assert len({row.problem for row in made}) == 4500
    stories = len({re.sub(r"\W+", "", row.problem)[-9:] for row in made})
    assert stories > 40
    assert sum("\\" in row.problem or "$" in row.problem for row in made) > 1500
    lengths = sorted(len(row.problem) for row in made)
    assert 150 < lengths[2250] < 300
    assert made[:500] == list(rows(500, seed=2))
    assert made[0] != next(rows(1, seed=3))


def test_the_answers_of_fillers_are_right() -> None:
    seen = 0
    for row in rows(4500, seed=4):
        matrix = re.search(r"pmatrix\} (\d+) & (\d+) \\\\ (\d+) & (\d+) \\end", row.problem)
        if matrix:
            a, b, c, d = map(int, matrix.groups())
            assert int(row.answer) == a * d - b * c
        power = re.search(r"Raise \$(\d+)\$ to the power \$(\d+)\$.*divided by \$(\d+)\$", row.problem)
        if power:
            base, exponent, modulus = map(int, power.groups())
            assert int(row.answer) == base**exponent % modulus
        trees = re.search(r"(\d+) straight rows, (\d+) trees to a row\. Exactly (\d+)", row.problem)
        if trees:
            across, along, oaks = map(int, trees.groups())
            assert int(row.answer) == across * along - oaks
        seen += bool(matrix or power or trees)
    assert seen > 50


def test_planted_rows_are_counted_known_and_the_same_each_time() -> None:
    made = list(planted(6000, seed=1, duplicates=400, look_alikes=200))
    assert len(made) == 6000
    by_id = {row["id"]: row for row in made}
    assert len(by_id) == 6000
    ways = Counter(row["plant"] for row in made)
    assert sum(ways[way] for way in DUPLICATE) == 400
    assert ways["other_numbers"] == 200
    known = pairs(6000, seed=1, duplicates=400, look_alikes=200)
    assert Counter(way for _, _, way in known) + Counter({None: ways[None]}) == ways
    seen = 0
    for row_id, base_id, way in known:
        if not way.startswith("benchmark_"):
            same = numbers(by_id[row_id]["problem"]) == numbers(by_id[base_id]["problem"])
            assert same == (way in CHANGES), (by_id[row_id], by_id[base_id])
            seen += 1
    assert seen == 600
    assert made == list(planted(6000, seed=1, duplicates=400, look_alikes=200))
    places = [place for place, row in enumerate(made) if row["plant"]]
    assert min(places) < 100
    assert max(places) > 5900


def test_the_hand_written_sets_are_whole() -> None:
    lines = paraphrases()
    ways = Counter(line["way"] for line in lines)
    assert ways["format"] + ways["paraphrase"] + ways["translated"] >= 200
    assert ways["other_numbers"] + ways["other_question"] >= 100
    assert min(ways.values()) >= 25
    assert len({line["text"] for line in lines}) == len(lines)
    assert all(line["file"].endswith(".jsonl") and line["line"] >= 1 and line["text"].strip() for line in lines)
    by_hand = [orjson.loads(line) for line in (HERE / "reworded.jsonl").read_bytes().splitlines()]
    assert len(by_hand) >= 60
    assert len({(line["file"], line["line"]) for line in by_hand}) == len(by_hand)
