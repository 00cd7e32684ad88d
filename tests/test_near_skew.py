"""A key that very many rows have: little memory a row, the same stars in any order, each hash weighed as it must be."""

import itertools
import math
import random
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.alike import clusters as stars
from pipeline.alike import gathered as on_disk
from pipeline.alike import signatures as pairs
from pipeline.alike.clusters import clusters
from pipeline.alike.gathered import Flat, arranged, blocks, gathered, weighed
from pipeline.alike.near import SKETCHES, NearSettings

WORDS = 60


def table(hashes: list[list[int]], *, first: int = 0, key: int = 7) -> pa.Table:
    """Sketches of rows of one key, numbered from `first`; the smaller the number, the earlier."""
    rows = len(hashes)
    columns = {
        "id": [(first + n).to_bytes(16, "big") for n in range(rows)],
        "shard": [0] * rows,
        "key": [key] * rows,
        "numbers": [0] * rows,
        "dropped": [False] * rows,
        "source": [0] * rows,
        "length": [0] * rows,
        "sketch": hashes,
    }
    return pa.table(columns, schema=SKETCHES)


def twins(rows: int, rng: random.Random) -> list[list[int]]:
    """Rows of random hashes; every other one is the row before it with one hash changed."""
    found: list[list[int]] = []
    while len(found) < rows:
        one = rng.sample(range(1 << 32), WORDS)
        found += [one, [*one[1:], rng.randrange(1 << 32)]]
    return found


def kept(members: pa.Table) -> dict[int, int]:
    """Each member's number -> its keeper's."""
    return {int.from_bytes(line["id"], "big"): int.from_bytes(line["keeper"], "big") for line in members.to_pylist()}


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is done in many steps, as it is in far larger groups."""
    for name in ("_AT_ONCE", "_WRITTEN_AT_ONCE", "_COUNTED_AT_ONCE"):
        monkeypatch.setattr(on_disk, name, 10_000)
    monkeypatch.setattr(pairs, "_SIGNED_AT_ONCE", 256)
    monkeypatch.setattr(pairs, "_HASHES_AT_ONCE", 10_000)
    monkeypatch.setattr(on_disk, "_RESIDENT_BYTES", 1 << 12)


@pytest.mark.usefixtures("small_steps")
def test_every_hash_weighs_what_brute_force_says() -> None:
    rng = random.Random(2)
    common = rng.sample(range(1 << 32), 30)
    drawn = [[rng.choice(common) for _ in range(20)] + rng.sample(range(1 << 32), 3) for _ in range(1200)]
    first, second, alone = table(drawn[:800]), table(drawn[800:1100], key=8), table(drawn[1100:], key=9)
    found = gathered([first, second, alone], SKETCHES)
    values, starts = arranged(found, np.arange(1100))
    assert [sorted(set(row)) for row in drawn[:1100]] == [
        values.values[begin:end].tolist() for begin, end in itertools.pairwise(starts)
    ]
    weights = weighed(values, starts[[800, 1100]], np.array([800, 0]), found)
    occurs = Counter(value for row in drawn for value in row)
    within = Counter(value for row in drawn[:800] for value in set(row))
    for place, value in enumerate(values.values.tolist()):
        rare = max(0, 1 - math.log(occurs[value]) / math.log(1200))
        if place < starts[800]:
            rare *= min(1, max(0, math.log(800 / within[value]) / math.log(800 / 2.5)))
        assert weights.values[place] == pytest.approx(rare + 1e-6, rel=1e-5)


@pytest.mark.usefixtures("small_steps")
def test_the_same_stars_from_any_number_of_tables_in_any_order() -> None:
    rng = random.Random(3)
    hashes = twins(3000, rng)
    whole = kept(clusters([table(hashes)], settings=NearSettings()))
    assert sum(whole.get(n + 1) == whole.get(n) == n for n in range(0, 3000, 2)) >= 1490
    assert all(keeper == number - number % 2 for number, keeper in whole.items())
    parts = [table(hashes[at : at + 300], first=at) for at in range(0, 3000, 300)]
    rng.shuffle(parts)
    assert kept(clusters(parts, settings=NearSettings())) == whole


@pytest.mark.usefixtures("small_steps")
def test_a_row_of_one_key_takes_a_few_hundred_bytes_of_memory() -> None:
    hashes = twins(5000, random.Random(4))
    tables = [table(hashes[at : at + 1000], first=at) for at in range(0, 5000, 1000)]

    def peak(some: list[pa.Table]) -> int:
        tracemalloc.start()
        clusters(iter(some), settings=NearSettings())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, all_ = peak(tables[:1]), peak(tables)
    # Its hashes alone, as they are compared, are 12 bytes each.
    assert (all_ - few) / 4000 < 500 < 12 * WORDS


def test_in_a_crowd_of_look_alikes_each_row_goes_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stars, "_ENOUGH_ALIKE", 2)
    rng = random.Random(5)
    own = [rng.sample(range(1 << 32), 400) for _ in range(5)]
    hashes = [[*own[n % 5], rng.randrange(1 << 32)] for n in range(1000)]
    other = twins(1000, rng)
    found = kept(clusters([table(hashes), table(other, first=1000)], settings=NearSettings()))
    assert all(number % 5 == keeper % 5 for number, keeper in found.items() if number < 1000)
    assert sum(number in found for number in range(1000)) > 950
    assert sum(found.get(n + 1) == n for n in range(1000, 2000, 2)) >= 490


def test_of_a_thousand_rows_that_say_the_same_one_stays() -> None:
    rng = random.Random(6)
    same, others = rng.sample(range(1 << 32), WORDS), [rng.sample(range(1 << 32), WORDS) for _ in range(500)]
    found = kept(clusters([table(others), table([same] * 1000, first=500)], settings=NearSettings()))
    assert found == dict.fromkeys(range(500, 1500), 500)


def test_blocks_hold_what_fits_and_leave_nothing_out() -> None:
    sizes = np.array([3, 4, 9, 1, 1, 0, 8, 20, 2])
    cut = [sizes[block].tolist() for block in blocks(sizes, 8)]
    assert cut == [[3, 4], [9], [1, 1, 0], [8], [20], [2]]
    assert list(blocks(np.empty(0, np.int64), 8)) == []


@pytest.mark.usefixtures("small_steps")
def test_what_is_let_go_is_still_there() -> None:
    flat = Flat.of([np.arange(4000), np.arange(4000, 20_000)], np.uint32)
    flat.values[7] = 5
    flat.rest()
    assert flat.values[7] == 5
    flat.values[7] = 7
    assert np.concatenate([part for _, part in flat.parts()]).tolist() == list(range(20_000))
    assert len(Flat.of([], np.uint32).values) == 0
