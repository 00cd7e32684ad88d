"""Choosing among many: quotas, mix, target, variety and pairs against brute force over small pools."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.choose import ChooseSettings
from pipeline.choosing.candidate import CANDIDATE_SCHEMA
from pipeline.choosing.judge import in_validation
from pipeline.choosing.select import Selection, select
from pipeline.choosing.sketch import sketch
from pipeline.errors import Stop

Row = Mapping[str, Any]


def row(number: int, **columns: Any) -> Row:
    """A fit candidate of a problem of its own; its place is its number, so that lower numbers come first."""
    rest = {
        "id": f"{number:032x}",
        "generation": "long",
        "draw": 0,
        "place": number,
        "source": "a",
        "licence": "CC0",
        "tokens": 10,
        "student_tokens": 10,
        "validation": False,
        "rejectable": False,
    } | columns
    return {"cluster": rest["id"], "number": number} | rest


def choice(rows: Sequence[Row], **settings: Any) -> Selection:
    schema = CANDIDATE_SCHEMA.append(pa.field("number", pa.int64()))
    known = {name: sorted({one[name] for one in rows if one.get(name)}) for name in ("source", "subject", "level")}
    return select(pa.Table.from_pylist(rows, schema=schema), settings=ChooseSettings(**settings), known=known)


def chosen(rows: Sequence[Row], **settings: Any) -> list[int]:
    """The numbers of those chosen, sorted."""
    found = choice(rows, **settings)
    return sorted(np.asarray(found.pool["number"])[found.chosen].tolist())


def reasons(rows: Sequence[Row], **settings: Any) -> Counter[str]:
    found = choice(rows, **settings)
    return Counter(found.reasons[reason][0] for reason in found.reason.tolist() if reason >= 0)


def fits(counts: Mapping[tuple[str, str], int], quotas: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bool:
    """Whether examples by (source, subject) meet quotas: the definitions once more, by hand."""
    total = sum(counts.values())
    for place, dimension in enumerate(("source", "subject")):
        for group, quota in quotas.get(dimension, {}).items():
            have = sum(count for cell, count in counts.items() if cell[place] == group)
            if not quota.get("at_least", 0) <= have <= quota.get("at_most", total):
                return False
            low, high = quota.get("share_at_least", 0) * total, quota.get("share_at_most", 1) * total
            if not low - 1e-9 <= have <= high + 1e-9:
                return False
    return True


def best(sizes: Mapping[tuple[str, str], int], quotas: Any, rows: int | None) -> int | None:
    """The most examples that any choice has, by trying all; None where no choice is right."""
    cells = sorted(sizes)
    found = None
    for counts in itertools.product(*(range(sizes[cell] + 1) for cell in cells)):
        total = sum(counts)
        wanted = total == rows if rows is not None else total > (found or 0)
        if wanted and total and fits(dict(zip(cells, counts, strict=True)), quotas):
            found = total
    return found


quota = st.fixed_dictionaries(
    {},
    optional={
        "at_least": st.integers(0, 4),
        "at_most": st.integers(0, 5),
        "share_at_least": st.sampled_from((0.0, 0.1, 0.25, 1 / 3, 0.5)),
        "share_at_most": st.sampled_from((0.2, 0.5, 2 / 3, 1.0)),
    },
).filter(
    lambda one: (
        one
        and one.get("at_least", 0) <= one.get("at_most", 9)
        and one.get("share_at_least", 0) <= one.get("share_at_most", 1)
    )
)


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cells=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), min_size=1, max_size=14),
    quotas=st.fixed_dictionaries(
        {
            "source": st.dictionaries(st.sampled_from("ab"), quota, max_size=2),
            "subject": st.dictionaries(st.sampled_from("xy"), quota, max_size=2),
        }
    ),
    rows=st.none() | st.integers(1, 12),
    data=st.data(),
)
def test_quotas_and_target_are_met_whenever_any_choice_meets_them(
    cells: list[tuple[str, str]], quotas: Any, rows: int | None, data: st.DataObject
) -> None:
    for groups in quotas.values():
        assume(sum(one.get("share_at_least", 0) for one in groups.values()) <= 1)
    pool = [row(number, source=source, subject=subject) for number, (source, subject) in enumerate(cells)]
    there = {name: {one[name] for one in pool} for name in quotas}
    quotas = {name: {g: one for g, one in groups.items() if g in there[name]} for name, groups in quotas.items()}
    wanted = best(Counter(cells), quotas, rows)
    asked = {"quotas": quotas, "target": {"rows": rows}}
    if wanted is None:
        with pytest.raises(Stop):
            chosen(pool, **asked)
        return
    # Shares that leave out more than half are asked about first.
    asked["allow_short"] = rows is None and 2 * wanted < len(pool)
    taken = chosen(pool, **asked)
    assert len(taken) == wanted
    assert fits(Counter(cells[number] for number in taken), quotas)
    # Any order of arrival; and all that is left out has a reason.
    assert chosen(data.draw(st.permutations(pool)), **asked) == taken
    assert reasons(pool, **asked).total() == len(pool) - len(taken)


def test_shares_that_leave_nearly_nothing_are_no_silent_choice() -> None:
    pool = [row(number, source="a" if number < 10 else "b") for number in range(100)]
    asked = {"quotas": {"source": {"a": {"share_at_least": 0.5}}}}
    with pytest.raises(Stop, match=r"the shares asked for leave 20 of 100 fit traces .*source a has 10"):
        chosen(pool, **asked)
    assert len(chosen(pool, **asked, allow_short=True)) == 20
    assert len(chosen(pool, **asked, target={"rows": 20})) == 20
    with pytest.raises(Stop, match=r"nothing can be chosen of 90 fit traces: no choice meets .*share_at_most"):
        chosen(pool[10:], quotas={"source": {"b": {"share_at_most": 0.5}}})


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    target=st.integers(1, 300),
    few=st.integers(1, 12),
    data=st.data(),
)
def test_a_target_of_tokens_is_never_passed_and_no_single_step_comes_nearer(
    lengths: list[int], target: int, few: int, data: st.DataObject
) -> None:
    pool = [row(n, student_tokens=length, source="ab"[n % 2]) for n, length in enumerate(lengths)]
    asked = {"target": {"tokens": target}, "allow_short": True, "quotas": {"source": {"a": {"at_most": few}}}}
    if min(lengths) > target:
        with pytest.raises(Stop):
            chosen(pool, **asked)
        return
    taken = set(chosen(pool, **asked))
    total = sum(lengths[n] for n in taken)
    assert total <= target
    assert sum(n % 2 == 0 for n in taken) <= few
    for n in set(range(len(lengths))) - taken:
        full = n % 2 == 0 and sum(one % 2 == 0 for one in taken) == few
        assert full or total + lengths[n] > target
        for out in taken:
            if out % 2 == n % 2:
                assert not total < total - lengths[out] + lengths[n] <= target
    assert chosen(data.draw(st.permutations(pool)), **asked) == sorted(taken)


def test_a_large_target_of_tokens_is_met_to_the_token() -> None:
    lengths = np.random.default_rng(1).integers(200, 9000, 20_000).tolist()
    pool = [row(n, student_tokens=length, source="ab"[n % 2]) for n, length in enumerate(lengths)]
    found = choice(pool, target={"tokens": 30_000_000}, quotas={"source": {"a": {"share_at_most": 0.3}}})
    tokens, source = np.asarray(found.pool["student_tokens"]), np.asarray(found.pool["source"])
    assert tokens[found.chosen].sum() == 30_000_000
    assert (source[found.chosen] == "a").mean() <= 0.3


def test_without_quotas_the_target_takes_the_first_by_the_seed() -> None:
    pool = [row(n) for n in range(20)]
    assert chosen(pool, target={"rows": 7}) == list(range(7))
    assert reasons(pool, target={"rows": 7}) == {"not_needed": 13}


def test_the_free_groups_keep_their_natural_mix() -> None:
    # 600 of a, 300 of b, 100 of c; b is asked to be half. a and c share the rest as they are: six to one.
    names = ["a"] * 600 + ["b"] * 300 + ["c"] * 100
    pool = [row(n, source="s", subject=name) for n, name in enumerate(names)]
    quotas = {"subject": {name: {"share_at_least": share} for name, share in (("a", 0), ("b", 0.5), ("c", 0))}}
    quotas["subject"]["a"] = {"at_least": 1}
    quotas["subject"]["c"] = {"at_least": 1}
    counts = Counter(names[n] for n in chosen(pool, target={"rows": 200}, quotas=quotas))
    assert counts["b"] == 100
    assert abs(counts["a"] - 86) <= 3
    assert counts.total() == 200


def test_what_is_missing_is_said_and_the_rest_is_made_only_on_request() -> None:
    pool = [row(n, subject="xy"[n < 3]) for n in range(10)]
    asked = {"quotas": {"subject": {"y": {"at_least": 5}}}, "target": {"rows": 8}}
    with pytest.raises(Stop, match=r"choose\.quotas\.subject\.y\.at_least=5: 3 can be had, 2 are missing.*allow_short"):
        chosen(pool, **asked)
    assert len(chosen(pool, **asked, allow_short=True)) == 8
    with pytest.raises(Stop, match=r"choose\.target\.rows=12: 10 can be had, 2 are missing"):
        chosen(pool, target={"rows": 12})
    assert chosen(pool, target={"rows": 12}, allow_short=True) == list(range(10))
    with pytest.raises(Stop, match=r"choose\.target\.tokens=500: 100 can be had, 400 are missing"):
        chosen(pool, target={"tokens": 500})
    found = choice(pool, **asked, allow_short=True)
    assert [(one.wanted, one.got) for one in found.shortfalls] == [(5, 3)]


def test_a_share_holds_even_when_the_target_is_short() -> None:
    pool = [row(n, subject="xy"[n < 3]) for n in range(10)]
    asked = {"quotas": {"subject": {"y": {"share_at_least": 0.5}}}, "target": {"rows": 8}}
    with pytest.raises(Stop, match=r"6 can be had, 2 are missing \(all used up: subject y has 3\)"):
        chosen(pool, **asked)
    taken = chosen(pool, **asked, allow_short=True)
    assert (len(taken), sum(n < 3 for n in taken)) == (6, 3)
    assert reasons(pool, **asked, allow_short=True) == {"over_quota": 4}


def test_a_quota_on_a_group_that_is_not_there_says_which_are() -> None:
    with pytest.raises(Stop, match=r"no trace has the subject 'algebra'; there are geometry"):
        chosen([row(1, subject="geometry")], quotas={"subject": {"algebra": {"at_most": 1}}})


def test_the_mix_of_pass_rates_is_kept_to_less_than_an_example() -> None:
    rates = [None, 0.0, 0.05, 0.3, 0.35, 0.4, 0.45, 0.5, 0.8, 0.9, 1.0, 0.1]
    pool = [row(n, pass_rate=rate) for n, rate in enumerate(rates * 5)]
    bands = [{"low": 0.0, "high": 0.5, "share": 0.75}, {"low": 0.5, "high": 1.0, "share": 0.25}]
    taken = [rates[n % 12] for n in chosen(pool, difficulty=bands, target={"rows": 41})]
    assert len(taken) == 41
    # 30.75 and 10.25.
    assert sum(rate < 0.5 for rate in taken) in (30, 31)
    assert reasons(pool, difficulty=bands, target={"rows": 41})["no_band"] == 5
    # Without a target: the most that keeps the mix, 35 below and 20 above are there.
    below = sum(rates[n % 12] < 0.5 for n in chosen(pool, difficulty=bands))
    above = len(chosen(pool, difficulty=bands)) - below
    assert below == 35
    assert abs(above - 0.25 * (below + above)) < 1


def test_at_most_so_many_of_a_cluster_whatever_problems_they_are_of() -> None:
    pool = [row(n, cluster="c" if n in (2, 5, 7, 8) else None or f"{n:032x}") for n in range(10)]
    assert chosen(pool, variety={"per_cluster": 2}) == [0, 1, 2, 3, 4, 5, 6, 9]
    assert reasons(pool, variety={"per_cluster": 2}) == {"too_many_of_cluster": 2}


def test_groups_take_turns_when_not_all_are_taken() -> None:
    pool = [row(n, subject="x" if n < 90 else "y") for n in range(100)]
    taken = chosen(pool, variety={"spread": ["subject"]}, target={"rows": 16})
    assert Counter(n < 90 for n in taken) == {True: 8, False: 8}
    # Every problem comes once before any comes twice.
    drawn = [row(n, id=f"{n % 6:032x}", draw=n // 6) for n in range(18)]
    assert len({n % 6 for n in chosen(drawn, per_problem=3, target={"rows": 6})}) == 6


def test_problems_that_few_others_are_like_come_first() -> None:
    trains = [f"A train leaves the station at {n} and meets another train, how far do they go?" for n in range(40)]
    others = [
        "Find the derivative of sin x.",
        "How many primes lie below fifty?",
        "Toss three coins: odds of two heads.",
    ]
    pool = [row(n, sketch=sketch(text)) for n, text in enumerate(trains + others)]
    assert {40, 41, 42} < set(chosen(pool, variety={"apart": True}, target={"rows": 6}))
    assert not {40, 41, 42} & set(chosen(pool, target={"rows": 6}))


def test_a_sketch_estimates_how_much_two_problems_share() -> None:
    agree = []
    for n in range(60):
        shared = " ".join(f"s{n}x{k}" for k in range(41))
        texts = [" ".join(f"{side}{n}x{k}" for k in range(20)) + " " + shared for side in "ab"]
        one, other = (np.frombuffer(sketch(text), dtype="<u4") for text in texts)
        agree.append((one == other).mean())
    # 40 pairs of neighbours are in both, 20 in each alone.
    assert np.mean(agree) == pytest.approx(40 / (40 + 20 + 20), abs=0.08)
    assert sketch("") == sketch(" ... ")
    assert sketch("Find x") == sketch("find X!") != sketch("x find")


def test_pairs_are_right_and_wrong_of_one_problem_and_generation_in_the_training_split() -> None:
    def draws(problem: int, pattern: str, **columns: Any) -> list[Row]:
        """A correct (r) or wrong (w) draw for each letter; numbers tell problem and draw."""
        return [
            row(10 * problem + draw, id=f"{problem:032x}", draw=draw, rejectable=letter == "w", **columns)
            for draw, letter in enumerate(pattern)
        ]

    pool = [
        *draws(1, "wrwrw"),
        *draws(2, "rr"),
        *draws(3, "ww"),
        *draws(4, "rw", validation=True),
        *draws(5, "r"),
        *[one | {"generation": "self"} for one in draws(5, "ww")][1:],
    ]
    for chosen_from, per_problem, wanted in (
        ("dataset", 1, [(11, 10)]),
        ("dataset", 2, [(11, 10)]),
        ("fit", 2, [(11, 10), (13, 12)]),
    ):
        found = choice(pool, pairs={"per_problem": per_problem, "chosen": chosen_from})
        numbers = np.asarray(found.pool["number"])
        assert sorted(map(tuple, numbers[found.pairs].tolist())) == wanted


def test_a_cluster_is_on_one_side_of_the_split_and_the_share_is_about_right() -> None:
    held = [in_validation(f"{n:032x}", share=0.1, seed=5) for n in range(20_000)]
    assert abs(sum(held) - 2000) < 200
    assert held == [in_validation(f"{n:032x}", share=0.1, seed=5) for n in range(20_000)]
    assert held != [in_validation(f"{n:032x}", share=0.1, seed=6) for n in range(20_000)]
    assert not any(in_validation(f"{n:032x}", share=0.0, seed=5) for n in range(100))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quotas": {"subject": {"x": {}}}}, "says nothing"),
        ({"quotas": {"subject": {"x": {"at_least": 3, "at_most": 2}}}}, "can't both hold"),
        ({"quotas": {"level": {"1": {"share_at_least": 0.6}, "2": {"share_at_least": 0.6}}}}, "more than 1"),
        ({"target": {"rows": 3, "tokens": 5}}, "not both"),
        ({"difficulty": [{"low": 0, "high": 0.5, "share": 0.5}, {"low": 0.4, "high": 1, "share": 0.5}]}, "overlap"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ChooseSettings(**settings)


def test_a_level_may_be_a_number_in_the_recipe() -> None:
    assert list(ChooseSettings(quotas={"level": {5: {"at_most": 1}}}).quotas.level) == ["5"]
