"""Rows with known near-duplicates among honest fillers, for measuring what deduplication and decontamination find.

    planted(100_000, seed=1, shared=Path("../shared/data"))   # dicts, in shuffled order, ready for a JSONL file
    pairs(100_000, seed=1, shared=...)                         # what is planted: (id of the row, id of its base, way)

`DUPLICATE` ways say the same problem again; `OTHER_PROBLEM` ways look alike and are other problems. Rows made from the
hand-written paraphrases have a way that begins with "benchmark_" and `of` = "FILE:LINE" of the benchmark row, which is
not among the rows.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TypedDict

import orjson
from planted.changes import Change, renamed, reworded
from planted.fillers import STORIES, Filler, filler, rows
from planted.formats import other_numbers, reformatted

__all__ = [
    "DUPLICATE", "HERE", "OTHER_PROBLEM", "Row", "both", "other_numbers", "pairs", "paraphrases", "planted",
    "reformatted", "renamed",
    "reworded", "rows",
]  # fmt: skip

HERE = Path(__file__).parent
DUPLICATE = ("renamed", "reworded", "reformatted", "both", "by_hand")
OTHER_PROBLEM = ("other_numbers",)


class Row(TypedDict):
    """One row of a planted set; `plant` and `of` are None for what is planted by nobody."""

    id: str
    problem: str
    answer: str
    source: str
    plant: str | None
    of: str | None


def both(text: str, rng: Random) -> str:
    """Renamed, then reworded."""
    return reworded(renamed(text, rng), rng)


CHANGES: dict[str, Change] = {"renamed": renamed, "reworded": reworded, "reformatted": reformatted, "both": both}


def planted(
    count: int, seed: int, shared: Path | None = None, *, duplicates: int = 1000, look_alikes: int = 1000
) -> Iterator[Row]:
    """`count` rows in shuffled order with near-duplicates, look-alikes and all hand-written paraphrases among them.

    Bases are fillers and, with `shared` (the folder of the real sets), rows of gsm8k_train and math500: half and half.
    """
    extra = _plants(count, seed, shared, duplicates, look_alikes)
    order: list[int] = list(range(count))
    Random(f"order:{seed}").shuffle(order)
    assert len(extra) < count, f"count={count} must be above the {len(extra)} planted rows and their bases"
    for place in order:
        if place < len(extra):
            yield extra[place]
        else:
            yield _row_of(place - len(extra), seed)


def pairs(
    count: int, seed: int, shared: Path | None = None, *, duplicates: int = 1000, look_alikes: int = 1000
) -> list[tuple[str, str, str]]:
    """What `planted` plants, given the same: id of the row, id of its base (or FILE:LINE of a benchmark), way."""
    extra = _plants(count, seed, shared, duplicates, look_alikes)
    return [(row["id"], row["of"], row["plant"]) for row in extra if row["plant"] and row["of"]]


def paraphrases() -> list[dict[str, str]]:
    """The hand-written rewritings and look-alikes of benchmark problems: file, line, way, strength, text."""
    lines: list[dict[str, str]] = [
        orjson.loads(line) for line in (HERE / "paraphrases.jsonl").read_bytes().splitlines()
    ]
    return lines


def _plants(count: int, seed: int, shared: Path | None, duplicates: int, look_alikes: int) -> list[Row]:
    """All rows that are no plain fillers: plants, and the real rows that some of them are made from."""
    rng = Random(f"plants:{seed}")
    free = count - duplicates - look_alikes - len(paraphrases())
    free -= 0 if shared is None else duplicates + look_alikes
    assert free > 0, f"count={count} leaves no room for fillers"
    real = [] if shared is None else _mixed(_real(shared), rng)
    bases = _bases(real, iter(rng.sample(range(free), min(free, 4 * (duplicates + look_alikes)))), seed)
    made = _by_hand(shared) if shared is not None else []
    made = made[: duplicates // 5]
    kept = {row["id"] for row in made if row["plant"] is None}
    for way in itertools.islice(itertools.cycle(CHANGES), duplicates - sum(row["plant"] is not None for row in made)):
        made += _twin(bases, way, rng, kept)
    for number in range(look_alikes):
        made += _look_alike(bases, number, count, seed, rng, kept)
    return [*made, *_benchmark_rows()]


def _bases(real: Sequence[Row], fillers: Iterator[int], seed: int) -> Iterator[Row]:
    """Rows to plant on, each but once: a real one or a filler by the toss of a coin, then fillers alone."""
    rng = Random(f"bases:{seed}")
    for row in real:
        while rng.random() < 0.5:
            yield _row_of(next(fillers), seed)
        yield row
    for index in fillers:
        yield _row_of(index, seed)


def _twin(bases: Iterator[Row], way: str, rng: Random, kept: set[str]) -> list[Row]:
    """The next base that this way changes, said again (after the base itself if it is a real row and no filler)."""
    for base in bases:
        text = CHANGES[way](base["problem"], rng)
        if base["id"] not in kept and text != base["problem"]:
            return _with_base(base, text, base["answer"], way, kept)
    raise AssertionError("too few rows to plant on")


def _look_alike(bases: Iterator[Row], number: int, count: int, seed: int, rng: Random, kept: set[str]) -> list[Row]:
    """The next base with other numbers: a filler with its right answer, a real row with a stand-in for one."""
    for base in bases:
        if base["id"] in kept:
            continue
        if base["source"] == "filler":
            index = int(base["id"].removeprefix("filler-"))
            unused = (count // len(STORIES) + 1 + number) * len(STORIES) + index % len(STORIES)
            told = filler(index, seed, numbers_of=unused)
            return _with_base(base, told.problem, told.answer, "other_numbers", kept)
        text = other_numbers(base["problem"], rng)
        if text != base["problem"]:
            return _with_base(base, text, str(rng.randint(2, 9999)), "other_numbers", kept)
    raise AssertionError("too few rows to plant on")


def _with_base(base: Row, text: str, answer: str, way: str, kept: set[str]) -> list[Row]:
    plant: Row = {
        "id": f"{way}-of-{base['id']}", "problem": text, "answer": answer, "source": "planted", "plant": way,
        "of": base["id"],
    }  # fmt: skip
    kept.add(base["id"])
    return [plant] if base["source"] == "filler" else [base, plant]


def _row_of(index: int, seed: int) -> Row:
    made: Filler = filler(index, seed)
    return {
        "id": f"filler-{index}",
        "problem": made.problem,
        "answer": made.answer,
        "source": "filler",
        "plant": None,
        "of": None,
    }


def _real(shared: Path) -> list[Row]:
    found = [
        _real_row(name, line, orjson.loads(raw))
        for name in ("gsm8k_train", "math500")
        for line, raw in enumerate((shared / f"{name}.jsonl").read_bytes().splitlines(), start=1)
    ]
    return [row for row in found if "[asy]" not in row["problem"]]


def _mixed(real: list[Row], rng: Random) -> list[Row]:
    """Rows of the real sets by turns, so that the smaller set is not lost in the larger."""
    rng.shuffle(real)
    turns: dict[str, int] = {}
    turn: dict[str, int] = {}
    for row in real:
        turns[row["source"]] = turn[row["id"]] = turns.get(row["source"], 0) + 1
    return sorted(real, key=lambda row: (turn[row["id"]], row["source"]))


def _real_row(name: str, line: int, raw: dict[str, str]) -> Row:
    problem = raw["question"] if "question" in raw else raw["problem"]
    answer = raw["answer"].split("#### ")[-1]
    return {
        "id": f"{name}.jsonl:{line}",
        "problem": problem,
        "answer": answer,
        "source": name,
        "plant": None,
        "of": None,
    }


def _by_hand(shared: Path) -> list[Row]:
    """The hand-written rewordings, each after its base."""
    real = {row["id"]: row for row in _real(shared)}
    made: list[Row] = []
    for raw in (HERE / "reworded.jsonl").read_bytes().splitlines():
        line = orjson.loads(raw)
        base = real[f"{line['file']}:{line['line']}"]
        made += _with_base(base, line["text"], base["answer"], "by_hand", set())
    return made


def _benchmark_rows() -> list[Row]:
    return [
        {
            "id": f"benchmark-{number}", "problem": line["text"], "answer": "0", "source": "planted",
            "plant": f"benchmark_{line['way']}", "of": f"{line['file']}:{line['line']}",
        }
        for number, line in enumerate(paraphrases(), start=1)
    ]  # fmt: skip
