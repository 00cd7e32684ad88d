"""Which problems could say the same, and what of them is compared.

Other numbers, or another answer, make another problem, however alike the texts are. So a problem has a key, the hash
of the numbers in its prompt and of its answer's value, and only problems with one key are ever compared. What is
compared is a sketch: the hashes of the prompt's words and pairs of neighbouring words, where a name or a variable is
only its place among them.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from pipeline.alike.said import Said, changes, told
from pipeline.alike.words import words
from pipeline.settings import Settings
from pipeline.written import exact_number

Array = np.ndarray[Any, np.dtype[Any]]

Share = Annotated[float, Field(gt=0, le=1)]

NEEDED = ["id", "source", "kind", "prompt", "answer", "solution", "drop"]
"""The columns of a problem that its sketch is made of."""

LONGEST_SKETCH = 512
"""Hashes of one sketch at most; of a longer text the smallest, which are a fair sample of all."""

SKETCHES = pa.schema(
    [
        ("id", pa.binary(16)),
        ("shard", pa.int32()),
        ("key", pa.uint64()),
        ("numbers", pa.int16()),
        ("dropped", pa.bool_()),
        ("source", pa.int16()),
        ("length", pa.int32()),
        ("sketch", pa.list_(pa.uint32())),
    ]
)
"""One row a problem: `numbers` counts its different numbers, `source` is its place in the order of sources, `length`
the characters of its solution."""

_ANY_QUOTE = re.compile("[\"'\u2018-\u201f]")
_QUOTED = re.compile(
    "[\"\u201c\u201d]([^\"\u201c\u201d]{1,80})[\"\u201c\u201d]|(?<![a-zA-Z0-9])['\u2018]([^'\u2018\u2019]{1,80})['\u2019](?![a-zA-Z])"
)
_WITH_UNIT = re.compile(r"[0-9.]+(?: (?!pi\b|infinity\b|and\b|or\b|sqrt\b|to\b)[a-z]{2,}){1,3}")
_BRACKETS = re.compile(r"[(\[,=:]")
_COMPARED = frozenset({"math", "text", "choice"})


_TURNS = {
    word: words_[0]
    for words_ in (
        ("minimum", "min", "minimal", "smallest", "lowest", "least"),
        ("maximum", "max", "maximal", "largest", "greatest", "highest", "biggest"),
        ("mean", "average"),
        ("median", "middle"),
        ("mode",),
        ("sin", "sine"),
        ("cos", "cosine"),
        ("tan", "tangent"),
        ("even",),
        ("odd",),
        ("area",),
        ("perimeter", "circumference"),
        ("volume",),
    )
    for word in words_
}
"""A word that turns a question round -> the first of those that say the same."""


class NearSettings(Settings):
    """When two problems with the same numbers and the same answer say the same."""

    similarity: tuple[Share, Share, Share, Share, Share] = (0.9, 0.75, 0.35, 0.2, 0.15)
    """Share of their words and pairs of words that two prompts have in common at least (Jaccard, 0 to 1; rare ones
    weigh more): with no different numbers in both, with one, two, three, and more. The more numbers two problems share
    beside their answer, the less is it by chance. Unrelated problems are below 0.1.
    """


def takes_part(drop: str | None) -> bool:
    """Whether a problem is compared: one that is kept, or that fell out as a benchmark's."""
    return drop is None or drop == "in_benchmark" or drop.startswith("benchmark_")


def sketches(problems: pa.Table, *, shard: int, sources: Sequence[str]) -> pa.Table:
    """The sketches of a shard's problems, in order of id; of rows with one id the one that would stay."""
    places = {source: place for place, source in enumerate(sources)}
    rows = [n for n, drop in enumerate(problems["drop"].to_pylist()) if takes_part(drop)]
    problems = problems.take(pa.array(rows, pa.int64()))
    keys, counts, flat, sizes = _keyed(problems)
    values, ends = _sketched(flat, sizes)
    table = pa.table(
        [
            pa.array([bytes.fromhex(identifier) for identifier in problems["id"].to_pylist()], pa.binary(16)),
            pa.array(np.full(len(keys), shard, np.int32)),
            pa.array(keys, pa.uint64()),
            pa.array(counts, pa.int16()),
            problems["drop"].is_valid(),
            pa.array([places.get(source, len(places)) for source in problems["source"].to_pylist()], pa.int16()),
            pc.utf8_length(problems["solution"]),
            pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), pa.array(values)),
        ],
        schema=SKETCHES,
    )
    order = np.lexsort(_stays_first(table))
    ids = np.array(table["id"].to_pylist(), dtype=object)[order]
    first = np.append(True, ids[1:] != ids[:-1])[: len(ids)].astype(bool)
    return table.take(pa.array(order[first]))


def ranks(table: pa.Table) -> Array:
    """Each row's place in the order of who stays: not dropped, first source, longest solution, smallest id."""
    ids = pc.rank(table["id"], tiebreaker="first").to_numpy()
    ranked = np.empty(len(table), np.int64)
    ranked[np.lexsort((ids, *_stays_first(table)[:-1]))] = np.arange(len(table))
    return ranked


def _stays_first(table: pa.Table) -> tuple[Array, ...]:
    """Keys for np.lexsort (the last is the first to sort by): within an id, who would stay comes first."""
    ids = pc.rank(table["id"], tiebreaker="dense").to_numpy()
    length, source, dropped = (table[name].to_numpy() for name in ("length", "source", "dropped"))
    return -length, source, dropped, ids


def _keyed(problems: pa.Table) -> tuple[list[int], Array, Array, Array]:
    """Each problem's key and count of different numbers; the hashes of its words, one after another; their counts."""
    prompts, answers, kinds = (problems[name].to_pylist() for name in ("prompt", "answer", "kind"))
    said = told(prompts)
    values = [answer_value(answer, kind) for answer, kind in zip(answers, kinds, strict=True)]
    parts = zip(_asked(said), map(_quoted, prompts), values, strict=True)
    keys = [xxhash.xxh3_64_intdigest("|".join([*asked, *quoted, value]).encode()) for asked, quoted, value in parts]
    # Where answers can't tell two problems apart, numbers that a template brings along would do too little.
    counts = np.where([bool(value) for value in values], np.minimum(_different(said), 1000), 0)
    return keys, counts.astype(np.int64), _without_names(said), said.sizes


def _asked(said: Said) -> Iterator[list[str]]:
    """Of each text the different numbers with their signs, and the words that make another question of its story."""
    meant = [_TURNS.get(word, word) for word in said.vocabulary]
    number = said.each(_is_number)
    at = np.flatnonzero((number | said.each(_TURNS.__contains__))[said.codes])
    minus = (said.codes == said.code("-")) & ~said.last
    below = number[said.codes[at]] & np.roll(minus, 1)[at]
    found = [f"-{meant[code]}" if less else meant[code] for code, less in zip(said.codes[at], below, strict=True)]
    ends = np.cumsum(np.bincount(said.rows[at], minlength=len(said.sizes)))
    return (sorted(set(found[begin:end])) for begin, end in itertools.pairwise([0, *ends.tolist()]))


def _different(said: Said) -> Array:
    """How many different numbers each text has."""
    at = np.flatnonzero(said.each(_is_number)[said.codes])
    packed = np.sort(said.rows[at] << 32 | said.codes[at])
    return np.bincount(packed[changes(packed)] >> 32, minlength=len(said.sizes))


def _is_number(word: str) -> bool:
    # A one is as often a pronoun.
    return word[0].isdigit() and word != "1"


def _quoted(prompt: str) -> list[str]:
    """What a prompt sets in quotes: as much part of the question as its numbers are."""
    if not _ANY_QUOTE.search(prompt):
        return []
    return sorted(" ".join(words(found)) for pair in _QUOTED.findall(prompt) for found in pair if found)


def _without_names(said: Said) -> Array:
    """The words' hashes, each letter of a variable and each name as its place among them: Tom and x are ~0 and ~1."""
    hashes = np.array([_hash(word) for word in said.vocabulary], np.uint64)[said.codes]
    before_long = np.roll(said.each(lambda word: len(word) > 1)[said.codes], -1) & ~said.last
    article = (said.codes == said.code("a")) & before_long
    letter = said.each(lambda word: len(word) == 1 and word.isalpha())[said.codes] & ~article
    at = np.flatnonzero(letter | said.named)
    _, first, which = np.unique(said.rows[at] << 32 | said.codes[at], return_index=True, return_inverse=True)
    rows = said.rows[at][first]
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    found = np.bincount(rows, minlength=len(said.sizes))
    place -= (np.cumsum(found) - found)[rows]
    hashes[at] = np.array([_hash(f"~{n}") for n in range(max(found, default=0))], np.uint64)[place[which]]
    return hashes


def answer_value(answer: str, kind: str) -> str:
    """The same text for answers that say the same (0.5 and 1/2, 5 and 5 cm, 2x + 1 and 2y + 1); empty for none."""
    if kind not in _COMPARED:
        return ""
    if answer.isdecimal() and answer.isascii():
        return answer.lstrip("0") or "0"
    if (number := exact_number(answer)) is not None:
        return str(number)
    said = words(answer)
    if said == ["none"]:
        return ""
    if _WITH_UNIT.fullmatch(" ".join(said)) and not _BRACKETS.search(answer):
        return said[0]
    places: dict[str, str] = {}
    letters = len(said) > 1
    return " ".join(
        places.setdefault(w, f"~{len(places)}") if letters and len(w) == 1 and w.isalpha() else w for w in said
    )


@functools.lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    """63 bits of a word's hash, then whether it is a number."""
    hashed: int = xxhash.xxh3_64_intdigest(word.encode())
    return hashed | 1 if word[0].isdigit() else hashed & ~1


def _sketched(hashes: Array, sizes: Array) -> tuple[Array, Array]:
    """The hashes (32 bits) of each row's words and pairs, one row after another, some repeated; the rows' ends."""
    ends = np.cumsum(sizes)
    both = np.empty((len(hashes), 2), np.uint64)
    both[:, 0] = hashes
    both[:-1, 1] = hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) + hashes[1:]
    kept = np.ones(both.shape, bool)
    kept[:, 0] = (hashes & np.uint64(1)) == 0  # a number alone says nothing where all have it
    kept[ends[sizes > 0] - 1, 1] = False  # the last word has no neighbour
    values = (_mixed(both[kept]) >> np.uint64(32)).astype(np.uint32)
    found = np.add.reduceat(np.append(kept.sum(axis=1), 0), ends - sizes) * (sizes > 0)
    return _cut(values, np.asarray(found, np.int64))


def _cut(values: Array, sizes: Array) -> tuple[Array, Array]:
    """The same rows, those that are too long with their smallest different hashes; and the rows' ends."""
    long = np.flatnonzero(sizes > LONGEST_SKETCH)
    if not len(long):
        return values, np.cumsum(sizes)
    rows = np.split(values, np.cumsum(sizes)[:-1])
    for row in long:
        rows[row] = np.unique(rows[row])[:LONGEST_SKETCH]
    return np.concatenate(rows), np.cumsum([len(row) for row in rows])


def _mixed(hashes: Array) -> Array:
    """Hashes mixed once more (the finalizer of splitmix64), so that their high bits are as good as any."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = hashes ^ (hashes >> np.uint64(31))
    return mixed
