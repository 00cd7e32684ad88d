"""Problems and traces against held-out problems: what counts as one of them, and what does not."""

import itertools
import json
import pickle
import random
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.alike.match import SHOWN_CHARS, Matched, matched, why
from pipeline.alike.ngrams import Rolling, Vocabulary, table
from pipeline.alike.overlap import Index, Match, OverlapSettings, index_of
from pipeline.errors import Stop
from pipeline.record import Problem, problem_id, to_table

WALK = (
    "Every morning Aya goes for a $9$-kilometer-long walk and stops at a coffee shop afterwards. When she walks at a "
    "constant speed of $s$ kilometers per hour, the walk takes her 4 hours, including $t$ minutes spent in the coffee "
    "shop. Suppose Aya walks at $s+\\frac{1}{2}$ kilometers per hour. Find the number of minutes the walk takes her."
)
DUCKS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the market daily for $2 per fresh duck egg. How much in dollars "
    "does she make every day at the market?"
)
SHORT = "Compute $\\sin 60^\\circ$."
OWN = (
    "A tank holds 70 liters and loses 3 liters an hour through a hole in its bottom. After how many hours is it empty?"
)


def held(*prompts: str) -> list[Problem]:
    return [
        Problem(
            id=problem_id(prompt),
            source="held",
            kind="math",
            prompt=prompt,
            answer="1",
            solution="",
            licence="",
            drop=None,
            drop_why=None,
        )
        for prompt in prompts
    ]


def index(*prompts: str, **settings: object) -> Index:
    return index_of({"held": held(*(prompts or (WALK, DUCKS, SHORT)))}, OverlapSettings(**settings))


def layer(text: str, **settings: object) -> str | None:
    match = index(**settings).prompts([text])[0]
    return None if match is None else match.layer


@pytest.mark.parametrize(
    "text",
    [
        DUCKS,
        DUCKS.upper(),
        DUCKS.replace("16", "sixteen").replace("$2", "\\$2").replace(". ", ".\n\n"),
        SHORT,
        "compute sin(60°)",
    ],
)
def test_the_same_text_in_another_form_is_found(text: str) -> None:
    assert layer(text) == "in_benchmark"


def test_a_problem_inside_a_longer_text_is_found_and_what_is_shared_is_told() -> None:
    text = f"Example. {OWN} It takes 24 hours.\n\nNow solve: {DUCKS} Put the answer in a box."
    match = index().prompts([text])[0]
    assert match is not None
    assert (match.layer, match.benchmark, match.benchmark_id) == ("benchmark_ngram", "held", problem_id(DUCKS))
    assert match.score == 1.0
    assert match.shared.startswith("janet ducks lay 16 eggs")
    assert match.shared.endswith("every day at the market")
    assert match.theirs == DUCKS


def test_most_of_a_problem_is_enough_and_less_is_not() -> None:
    sentences = DUCKS.split(". ")
    assert layer(". ".join(sentences[:3])) == "benchmark_ngram"
    assert layer(sentences[0] + f". {OWN}") is None


def test_a_problem_said_in_other_words_is_found_by_its_numbers_and_words() -> None:
    text = (
        "Every day Janet's ducks lay 16 eggs, and for breakfast she eats three of them. Four are baked into muffins "
        "for friends. The remainder is sold daily, at $2 for each fresh duck egg, on the market: how many dollars "
        "does Janet make there a day?"
    )
    assert layer(text) == "benchmark_near"
    assert layer(text, near_share=None) is None
    assert layer(text.replace("16", "18")) is None


def test_the_same_formulas_with_other_letters_are_found_and_other_formulas_are_not() -> None:
    asked = "Solve both equations for $x$ and $y$: $x^2 + 3xy - 7y = 12$ and $x + 4y - 9 = 5$, where $x > y$."
    other = "Solve both equations for $a$ and $b$: $a^2 + 3ab - 7b = 12$ and $a + 4b - 9 = 5$, where $a > b$."
    differs = "Solve both of these for $u$: $2 > 12 = 3 > 7 + 4 + 9 + 5$ and $12 > 3 = 9$, if you please."
    found = index(asked, WALK).prompts([other, differs])
    assert found[0] is not None
    assert found[0].benchmark_id == problem_id(asked)
    assert found[1] is None


@pytest.mark.parametrize(("there", "here"), [("16", "18"), ("three", "five"), ("$2", "$7")])
def test_other_numbers_are_another_problem(there: str, here: str) -> None:
    assert there in DUCKS
    assert layer(DUCKS.replace(there, here)) is None


def test_how_problems_are_put_is_no_evidence() -> None:
    end = "where m and n are relatively prime positive integers and p is no square of any prime. Find m + n + p."
    many = [f"The {word} of a solid {n} by {n + 1} is m root p over n, {end}" for n, word in enumerate("abcdefghijkl")]
    found = index(*many).prompts([f"What a boat weighs is m root p over n, {end}", many[3]])
    assert found[0] is None
    assert found[1] is not None


RECIPES = Path(__file__).resolve().parent.parent / "jobs" / "recipes"
REVERSE = "Answer with the words in a row and a comma behind each. Reverse this list of words: {}, {}, {}"
WORDS = ["acute", "bread", "copper", "island", "motive", "number", "harvest", "candle", "river", "teacher", "garden"]


def reversals(number: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [REVERSE.format(*rng.sample(WORDS, 3)) for _ in range(number)]


def test_problems_of_one_kind_are_not_taken_for_each_other() -> None:
    letters, theirs = (
        [json.loads(line)["question"] for line in (RECIPES / name).open()]
        for name in ("demo_letters.jsonl", "demo_letters_test.jsonl")
    )
    assert len(letters) > 200
    assert set(letters).isdisjoint(theirs)
    assert [match for match in index(*theirs).prompts(letters) if match] == []
    again = index(*theirs).prompts([f"{OWN} {theirs[3]}", theirs[4].upper()])
    assert [match and match.benchmark_id for match in again] == [problem_id(theirs[3]), problem_id(theirs[4])]
    ours, held_out = reversals(300, seed=1), reversals(8, seed=2)
    found = index(*held_out).prompts(ours)
    assert {text for text, match in zip(ours, found, strict=True) if match} == set(ours) & set(held_out)


def test_problems_of_the_same_sentences_are_found_as_a_whole_only() -> None:
    sentences = [sentence.rstrip(".") + "." for sentence in DUCKS.split(". ")]
    held_out = [" ".join(order) for order in itertools.permutations(sentences)]
    found = index(*held_out).prompts([f"{OWN} {held_out[7]} {OWN}", f"{OWN} {' '.join(sentences[:3])} {OWN}"])
    assert [match and match.benchmark_id for match in found] == [problem_id(held_out[7]), None]


def test_a_formula_that_problems_have_is_no_problem_and_a_run_goes_on_over_common_words() -> None:
    formulas = [
        "\\frac{1}{a} + \\frac{1}{b} + \\frac{1}{c} + \\frac{1}{d}",
        "abcd + dcba - aabb + ccdd",
        "a^3 + b^3 - c^3 - d^3",
    ]
    put = "Let a, b, c and d be any positive real numbers. Find the smallest possible value of the sum ${}$."
    held_out = index(*[put.format(formula) for formula in formulas], "Name a prime number between twenty and thirty.")
    trace, whole = held_out.traces([f"So ${formulas[0]}$ is it.", put.format(formulas[0])[10:]], own=["", ""])
    assert trace is None
    assert whole is not None
    assert whole.shared.startswith("c and d be any positive real numbers find the smallest")


def test_of_two_problems_the_one_that_is_there_in_full_is_told() -> None:
    for text in (f"{DUCKS} {WALK[:-60]}", f"{WALK[:-60]} {DUCKS}"):
        match = index().prompts([text])[0]
        assert match is not None
        assert (match.benchmark_id, match.score) == (problem_id(DUCKS), 1.0)


def test_a_problem_alone_of_its_kind_is_told_from_many_by_a_sample_of_the_source() -> None:
    ours, theirs = reversals(300, seed=1), REVERSE.format("one", "sun", "cloud")
    benchmarks = {"held": held(theirs, WALK)}
    alone = index_of(benchmarks, OverlapSettings()).prompts(ours)
    assert all(alone)
    sampled = index_of(benchmarks, OverlapSettings(), sample=ours[:100])
    assert [match for match in sampled.prompts(ours) if match] == []
    known = sampled.prompts([theirs, f"{OWN} {theirs}", f"{OWN} {WALK} {OWN}"])
    assert [match and match.benchmark_id for match in known] == [problem_id(theirs)] * 2 + [problem_id(WALK)]


def test_problems_that_quote_other_texts_are_other_problems() -> None:
    quoted = 'How many vowels are there in all of this short text, spaces left out: "{}"? Give a number.'
    long = "y " * 150_000
    assert index(quoted.format("the sea is calm")).prompts([long, quoted.format("a red balloon")]) == [None, None]
    found = index(quoted.format("the sea is calm"), WALK).prompts(
        [
            quoted.format("a red balloon"),
            quoted.format("the sea is calm") + " Explain.",
            quoted.format("the sea is calm"),
        ]
    )
    assert [match and match.layer for match in found] == [None, "benchmark_ngram", "in_benchmark"]


def test_a_short_problem_is_looked_for_as_a_whole_only() -> None:
    eight = "What is the sum of 17 and 25?"
    found = index(eight, SHORT, WALK).prompts(
        [f"{OWN} {SHORT}", f"{OWN} {eight} Tell me.", "What is the sum of 17 and 26? Tell me."]
    )
    assert [match and match.benchmark_id for match in found] == [None, problem_id(eight), None]


@pytest.mark.parametrize("text", [WALK, f"{OWN} {WALK} {OWN}"])
def test_problems_shorter_than_the_ngram_are_found_as_a_whole(text: str) -> None:
    short = ". ".join(WALK.split(". ")[:2])
    match = index(short, ngram=50, least_words=20).prompts([OWN, text])[1]
    assert match is not None
    assert match.score == 1.0


def test_a_trace_that_recites_a_held_out_problem_is_found() -> None:
    thought = f"This is like one that I know: {WALK} There s is 2.5 and t is 24. Here the tank holds 70 liters."
    found = index().traces([thought, "The tank is empty after 70 / 3 hours.", ""], own=[OWN, OWN, OWN])
    assert [match and match.benchmark_id for match in found] == [problem_id(WALK), None, None]
    assert found[0] is not None
    assert found[0].layer == "benchmark_ngram"


def test_what_a_trace_has_from_its_own_prompt_is_no_evidence() -> None:
    most = ". ".join(DUCKS.split(". ")[:3])
    thoughts = [f"I am asked: {DUCKS} So 16 - 3 - 4 is 9.", f"I am asked: {DUCKS} It is like: {WALK}", f"Well: {most}."]
    found = index().traces(thoughts, own=[DUCKS, DUCKS, most])
    assert [match and match.benchmark_id for match in found] == [None, problem_id(WALK), None]
    assert index().traces(thoughts[2:], own=[OWN])[0] is not None


def test_each_text_gets_its_own_match_across_blocks_and_in_any_order() -> None:
    rng = random.Random(1)
    texts = [DUCKS, OWN * 900, f"{WALK} {OWN}", "", OWN, SHORT, "x " * 150_000, WALK]
    expected = [problem_id(DUCKS), None, problem_id(WALK), None, None, problem_id(SHORT), None, problem_id(WALK)]
    for _ in range(3):
        order = rng.sample(range(len(texts)), len(texts))
        for found in (
            index().prompts([texts[n] for n in order]),
            pickle.loads(pickle.dumps(index())).prompts([texts[n] for n in order]),
        ):
            assert [match and match.benchmark_id for match in found] == [expected[n] for n in order]


def test_the_first_benchmark_and_the_smallest_id_stand_for_the_same_problem() -> None:
    benchmarks = {"b": held(DUCKS, WALK), "a": held(DUCKS.upper(), DUCKS)}
    match = index_of(benchmarks, OverlapSettings()).prompts([DUCKS])[0]
    assert match is not None
    assert match.benchmark == "b"


def test_an_empty_benchmark_is_refused_and_one_that_nothing_could_match() -> None:
    with pytest.raises(Stop, match="benchmark aime has no problems"):
        index_of({"held": held(DUCKS), "aime": []}, OverlapSettings())
    with pytest.raises(Stop, match="benchmark signs has no problem with a word in it"):
        index_of({"signs": held("...")}, OverlapSettings())
    (match,) = index_of({"sums": held("What is 7?")}, OverlapSettings()).prompts(["what is $7$"])
    assert match is not None
    assert match.layer == "in_benchmark"


@pytest.mark.parametrize("text", ["a " * 500_000, "1+" * 500_000, "我" * 1_000_000, "\x00" * 1_000_000, DUCKS * 3500])
def test_a_text_of_a_million_characters_takes_seconds_at_most(text: str) -> None:
    started = time.perf_counter()
    prompt, trace = index().prompts([text])[0], index().traces([text], own=[DUCKS])[0]
    assert time.perf_counter() - started < 5
    assert (prompt is not None) == text.startswith("Janet")
    assert trace is None


def test_ngrams_are_found_where_a_plain_search_finds_them() -> None:
    rng = random.Random(3)
    owners = [[rng.choice("abcd") for _ in range(rng.randint(0, 30))] for _ in range(20)]
    texts = [[rng.choice("abcdx") for _ in range(rng.randint(0, 60))] for _ in range(50)]
    vocabulary = Vocabulary(owners)
    for n in (3, 5):
        encoded = vocabulary.encode(owners)
        hashes = Rolling(encoded.ids_W).windows(n)
        at = np.arange(len(hashes))
        who = encoded.text_of(at)
        inside = at - encoded.starts_D[who] + n <= encoded.lengths_D[who]
        grams = table(hashes[inside], who[inside], at[inside], most_owners=100)
        looked = vocabulary.encode(texts)
        places, _ = grams.find(Rolling(looked.ids_W).windows(n))
        found = [(int(t), int(p - looked.starts_D[t])) for p, t in zip(places, looked.text_of(places), strict=True)]
        known = {tuple(owner[k : k + n]) for owner in owners for k in range(len(owner) - n + 1)}
        plain = [
            (t, k) for t, text in enumerate(texts) for k in range(len(text) - n + 1) if tuple(text[k : k + n]) in known
        ]
        assert plain
        assert found == plain


def test_a_match_is_written_with_the_part_of_a_long_text_that_shows_it() -> None:
    text = OWN * 200 + DUCKS + OWN * 200
    match = index().prompts([text])[0]
    assert match is not None
    row = matched(match, where="prompt", id="1", source="made", text=text)
    assert DUCKS in row.text
    assert len(row.text) == SHOWN_CHARS
    assert row.benchmark_text == DUCKS
    assert to_table([row], Matched).to_pylist()[0]["shared"] == match.shared


def test_why_is_one_line_with_the_figure() -> None:
    shared = " ".join(["word"] * 50)
    said = why(Match("aime24", "0123456789abcdef", "benchmark_ngram", 0.874, shared, "..."))
    assert said.startswith("has 87% of aime24 01234567: word word")
    assert len(said) < 160
