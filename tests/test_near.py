"""Near-duplicates: what is found and what is not, against brute force, on real problems and on hostile ones."""

import itertools
import random
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from pipeline.alike.clusters import clusters, components
from pipeline.alike.gathered import Flat
from pipeline.alike.near import LONGEST_SKETCH, NearSettings, answer_value, sketches
from pipeline.alike.signatures import Sketches, all_pairs, likely_pairs
from pipeline.curate import CurateSettings
from pipeline.record import Problem, problem_id, to_table
from pipeline.settle import beside, own_rows, own_texts

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LETTERS = Path(__file__).resolve().parents[1] / "jobs" / "recipes" / "demo_letters.jsonl"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no shared data beside the checkout")

TRAIN = "A train leaves at 9 with 240 people. At each of 4 stops 15 people get off. How many are left on the train?"


def problem(prompt: str, answer: str = "180", *, source: str = "a", drop: str | None = None) -> Problem:
    named = {"id": problem_id(prompt), "source": source, "kind": "math", "licence": "x", "solution": ""}
    return Problem(**named, prompt=prompt, answer=answer, drop=drop, drop_why=None)


def found(problems: list[Problem], settings: NearSettings | None = None) -> set[frozenset[str]]:
    """The clusters, as sets of prompts."""
    table = sketches(to_table(problems, Problem), shard=0, sources=["a", "b"])
    prompts = {one.id: one.prompt for one in problems}
    together: dict[bytes, set[str]] = {}
    for member in clusters([table], settings=settings or NearSettings()).to_pylist():
        together.setdefault(member["keeper"], set()).add(prompts[member["id"].hex()])
    return set(map(frozenset, together.values()))


def flat(values: np.ndarray, weights: np.ndarray, starts: np.ndarray, wanted: np.ndarray) -> Sketches:
    return Sketches(Flat.of([values], np.uint32), Flat.of([weights], np.float32), starts, wanted)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (TRAIN, TRAIN.replace("train", "bus").replace("people", "persons")),
        (TRAIN, "240 people are on a train that leaves at 9. 15 people get off at each of 4 stops. How many are left?"),
        (TRAIN, TRAIN.replace("4 stops", "four stops").replace(" 240 ", " $240$ ")),
        ("Tom has 48 figs and gives Ann 12 of them.", "Each day Kim has 48 figs and gives Bo 12 of them."),
        (r"Solve $\frac{x}{2} + 7 = 12 y$ for x.", "Solve a/2 + 7 = 12b for a."),
        ("Is every prime odd?", "Is every prime odd ?!"),
    ],
)
def test_the_same_said_again_is_found(a: str, b: str) -> None:
    assert found([problem(a), problem(b), problem("Another thing, with 3 and 4.")]) == {frozenset({a, b})}


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (TRAIN, TRAIN.replace("240", "250"), "180"),
        (TRAIN, TRAIN.replace("How many are left", "How many got off"), "60"),
        ('How often is the letter "m" in "hammock"?', 'How often is the letter "m" in "summer"?', "180"),
        ('How often is "m" in "mammal"?', 'How often is "a" in "mammal"?', "180"),
        ("What is the day after Monday in week 7?", "What is the day after Friday in week 7?", "180"),
        ("How many real roots has x^2 - 5x + 6 = 0?", "How many real roots has x^2 + 5x - 6 = 0?", "180"),
        ("What is the mean of 3, 7, 7 and 11?", "What is the median of 3, 7, 7 and 11?", "180"),
        (
            "What is the least n with 7 n > 40 and 9 n < 90?",
            "What is the greatest n with 7 n > 40 and 9 n < 90?",
            "180",
        ),
        ("Tom is Ann's son. Who is Tom to Ann?", "Tom is Ann's son. Who is Ann to Tom?", "180"),
    ],
)
def test_another_problem_is_left_alone(a: str, b: str, answer: str) -> None:
    assert found([problem(a), problem(b, answer), problem("Another thing, with 3 and 4.")]) == set()


def test_answers_that_say_the_same() -> None:
    same = [("1,000", "1000.0"), ("1/2", "0.5"), ("5 cm", r"5\text{ cm}"), ("5 cm", "5"), ("2x + 1", "$2y+1$")]
    for a, b in same:
        assert answer_value(a, "math") == answer_value(b, "math"), (a, b)
    other = [("5", "-5"), (r"(2,\infty)", "2"), (r"2\pi", "2"), ("A", "B"), ("x + y", "x + x"), ("[2, 3]", "2")]
    for a, b in other:
        assert answer_value(a, "math") != answer_value(b, "math"), (a, b)


def test_who_stays() -> None:
    first, second = problem(TRAIN, source="b"), problem(TRAIN.replace("train", "bus"), source="a")
    long = replace(problem(TRAIN.replace("train", "ship"), source="a"), solution="long")
    table = sketches(to_table([first, second, long], Problem), shard=0, sources=["a", "b"])
    assert {one["keeper"].hex() for one in clusters([table], settings=NearSettings()).to_pylist()} == {long.id}
    table = sketches(to_table([first, second, long], Problem), shard=0, sources=["b", "a"])
    assert {one["keeper"].hex() for one in clusters([table], settings=NearSettings()).to_pylist()} == {first.id}


def test_a_benchmarks_row_has_all_that_is_like_it_beside_it_and_other_drops_take_no_part() -> None:
    bench = problem(TRAIN, drop="in_benchmark")
    like = problem(TRAIN.replace("train", "bus"))
    gone = problem(TRAIN.replace("train", "ship"), drop="image")
    table = sketches(to_table([like, bench, gone], Problem), shard=0, sources=["a"])
    members = clusters([table], settings=NearSettings()).to_pylist()
    assert {(one["id"].hex(), one["beside"].hex()) for one in members} == {(bench.id, bench.id), (like.id, bench.id)}


def test_what_lies_beside_a_benchmarks_problem_is_written_with_both_texts() -> None:
    theirs = replace(problem(f"Problem 7. {TRAIN}", "$180$"), id="ab" * 16)
    (own,) = own_rows([("trains", theirs), ("again", theirs)], CurateSettings())
    assert (own.id, own.source, own.prompt, own.answer, own.drop) == (
        theirs.id,
        "benchmark trains",
        TRAIN,
        "180",
        "in_benchmark",
    )
    assert own_rows([("trains", theirs)], CurateSettings(normalise=False))[0].prompt == theirs.prompt
    # What matched the benchmark in a source has been given its text already.
    texts = own_texts([asdict(own)]) | {"cd" * 16: ("other", "ef" * 16, "Their text.")}
    like, through, kept = (
        replace(problem(TRAIN.replace("train", word)), drop=drop)
        for word, drop in (("bus", "beside_benchmark"), ("ship", "beside_benchmark"), ("tram", None))
    )
    members = [
        {"id": like.id, "beside": own.id, "similarity": 0.6},
        {"id": through.id, "beside": "cd" * 16, "similarity": 0.5},
    ]
    first, second = beside([like, kept, through], members, texts)
    assert (first.benchmark, first.benchmark_id, first.benchmark_text) == ("trains", own.id, theirs.prompt)
    assert (first.id, first.text, first.layer, first.score) == (like.id, like.prompt, "beside_benchmark", 0.6)
    assert first.shared == "leaves at 9 with 240 people at each of 4 stops 15 people get off how many are left on the"
    assert (second.id, second.benchmark, second.benchmark_text) == (through.id, "other", "Their text.")


def test_likeness_is_not_passed_on() -> None:
    words = [f"{a}{b}" for a in "bcdfg" for b in ("ako", "elu", "imi", "oru", "uta", "yno")]
    texts = [" ".join([*words[at : at + 20], "7 8"]) for at in (0, 5, 10)]
    few = NearSettings(similarity=(0.5, 0.5, 0.5, 0.5, 0.5))
    assert found([problem(texts[0]), problem(texts[2])], few) == set()
    ends = sorted(found([problem(text) for text in texts], few), key=len)
    assert len(ends) == 1
    assert len(ends[0]) == 2 or problem_id(texts[1]) < min(problem_id(texts[0]), problem_id(texts[2]))


def test_similarity_is_the_weighted_jaccard_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    rows = [np.unique(rng.integers(0, 120, rng.integers(1, 90))).astype(np.uint32) for _ in range(40)]
    weight = rng.random(120)
    starts = np.append(0, np.cumsum([len(row) for row in rows]))
    values = np.concatenate(rows)
    some = flat(values, weight[values], starts, np.full(40, 0.5))
    a, b = all_pairs(np.array([0]), np.array([40]))
    assert len(a) == 780
    for first, second, similarity in zip(a, b, some.similarity(a, b), strict=True):
        shared, either = np.intersect1d(rows[first], rows[second]), np.union1d(rows[first], rows[second])
        assert similarity == pytest.approx(weight[shared].sum() / weight[either].sum(), rel=1e-5)


def test_bands_find_what_all_pairs_find_and_stay_few() -> None:
    rng = np.random.default_rng(5)
    base = [rng.choice(2**32, 60, replace=False) for _ in range(600)]
    rows = [np.sort(row).astype(np.uint32) for row in base]
    for row in base[:200]:
        changed = np.append(row[:48], rng.choice(2**32, 12, replace=False))  # Jaccard 48 / 72
        rows.append(np.sort(changed).astype(np.uint32))
    starts = np.append(0, np.cumsum([len(row) for row in rows]))
    values = np.concatenate(rows)
    some = flat(values, np.ones(len(values)), starts, np.full(len(rows), 0.5))
    by_band = list(likely_pairs(some, np.arange(len(rows)), np.zeros(len(rows), np.int64)))
    a, b = (np.concatenate(parts) for parts in zip(*by_band, strict=True))
    assert len(a) == len({*zip(a.tolist(), b.tolist(), strict=True)})
    planted = {(n, 600 + n) for n in range(200)}
    got = set(zip(a.tolist(), b.tolist(), strict=True))
    assert len(planted & got) >= 195
    assert len(got - planted) < 50


def test_thousands_of_rows_with_one_band_are_not_compared_with_each_other() -> None:
    words = [f"word{n}" for n in range(40)]
    rng = random.Random(2)
    texts = [" ".join(rng.sample(words, 40)) for _ in range(3000)]
    table = sketches(to_table([problem(text, "yes") for text in texts], Problem), shard=0, sources=["a"])
    started = time.process_time()
    clusters([table], settings=NearSettings())
    assert time.process_time() - started < 10


def test_components_against_a_walk() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 300, 200), rng.integers(0, 300, 200)
    label = list(range(300))
    for _ in range(300):
        for first, second in zip(a, b, strict=True):
            label[first] = label[second] = min(label[first], label[second])
    assert components(300, a, b).tolist() == label


def test_the_same_whatever_the_order_of_the_rows() -> None:
    rng = random.Random(4)
    problems = [
        problem(TRAIN.replace("train", word).replace("240", str(240 + n % 3))) for n, word in enumerate("abcdefgh")
    ]
    problems += [problem(f"{TRAIN} {word}") for word in ("Now", "So", "Well")]
    expected = found(problems)
    assert expected
    for _ in range(5):
        rng.shuffle(problems)
        table = pa.concat_tables(
            sketches(to_table(problems[part::3], Problem), shard=part, sources=["a"]) for part in range(3)
        )
        assert clusters([table], settings=NearSettings())["id"].to_pylist() == sorted(
            bytes.fromhex(problem_id(prompt)) for cluster in expected for prompt in cluster
        )


def test_hostile_rows() -> None:
    long = " ".join(f"w{n}x" for n in range(60_000))
    hostile = ["", " ", "\x00\x07", "7", "$" * 300_000, long, long + " more", "a" * 1_000_000]
    problems = [problem(text, answer) for text, answer in itertools.product(hostile, ["", "180"])]
    started = time.process_time()
    table = sketches(to_table(problems, Problem), shard=0, sources=["a"])
    assert max(map(len, table["sketch"].to_pylist())) <= LONGEST_SKETCH
    clusters([table], settings=NearSettings())
    assert time.process_time() - started < 10
    assert found([]) == found([problem("")]) == set()
    assert found([problem(long, "1"), problem(long + " more", "1")]) == {frozenset({long, long + " more"})}


@needs_data
@pytest.mark.data
def test_real_problems_are_left_alone_but_for_those_that_are_twice_there() -> None:
    lines = [orjson.loads(line) for line in (DATA / "gsm8k_train.jsonl").read_bytes().splitlines()]
    lines += [orjson.loads(line) for line in LETTERS.read_bytes().splitlines()]
    problems = {one.id: one for one in (problem(line["question"], line["answer"].split("####")[-1]) for line in lines)}
    told = found(list(problems.values()))
    # Two that a reader would call the same: other names in one, other things and another order in the other.
    assert len(told) <= 2
    assert any(any("two cassette tapes" in prompt for prompt in cluster) for cluster in told)
