"""Problems and traces against the held-out problems of every benchmark: what must not be trained on.

Cheapest first: the same text after canonical words (in_benchmark); runs of shared words that cover most of a held-out
problem, anywhere in the text (benchmark_ngram); the same numbers and mostly the same words (benchmark_near). A problem
that differs in its numbers only is another problem; one that asks something else about the same story is not.
"""

# D texts of a block, P held-out problems

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.alike.ngrams import Encoded, Grams, Ints, Rolling, Vocabulary, table
from pipeline.alike.reworded import Reworded
from pipeline.alike.shared import Run, Shared, runs_of
from pipeline.alike.words import words
from pipeline.errors import Stop
from pipeline.record import Problem
from pipeline.settings import Settings

Layer = Literal["in_benchmark", "benchmark_ngram", "benchmark_near", "benchmark_paraphrase"]

_BLOCK_WORDS = 100_000
_COMPARED_WORDS = 1000


class OverlapSettings(Settings):
    """What counts as a problem of a benchmark."""

    ngram: int = Field(default=8, ge=3, le=50)
    """A run of so many shared words is evidence, words."""
    ngram_share: float = Field(default=0.5, gt=0, le=1)
    """The share of a held-out problem's words that such runs must cover."""
    common: int = Field(default=10, ge=1)
    """A run that is in more held-out problems than so many is how such problems are put, and no evidence; problems."""
    least_words: int = Field(default=8, ge=2)
    """A held-out problem of fewer words is only looked for as a whole text, not inside other text; words."""
    near_share: float | None = Field(default=0.5, gt=0, le=1)
    """The share of the words of both problems, weighed by how rare they are, that must be in both where the numbers
    agree; null: word for word matches only."""


@dataclass(frozen=True, slots=True)
class Match:
    """A held-out problem that a text contains or says again.

    `score` is the share of the held-out problem that is covered (in_benchmark, benchmark_ngram) or the share of the
    words of both that is in both (benchmark_near); `shared` the longest run of canonical words that is in both;
    `theirs` the held-out problem's text.
    """

    benchmark: str
    benchmark_id: str
    layer: Layer
    score: float
    shared: str
    theirs: str


@dataclass(frozen=True, slots=True)
class _Held:
    benchmark: str
    id: str
    text: str
    words: tuple[str, ...]


def index_of(benchmarks: Mapping[str, Sequence[Problem]], settings: OverlapSettings) -> "Index":
    """The index over all problems of these benchmarks; raises Stop for a benchmark that nothing could match."""
    held: dict[tuple[str, ...], _Held] = {}
    for name, problems in benchmarks.items():
        ordered = sorted(problems, key=lambda problem: problem.id)
        own = [_Held(name, problem.id, problem.prompt, tuple(words(problem.prompt))) for problem in ordered]
        if not own:
            raise Stop(f"benchmark {name} has no problems: nothing could match it; give its problems or take it out")
        longest = max(len(one.words) for one in own)
        if longest < settings.least_words:
            raise Stop(
                f"benchmark {name}: its longest problem has {longest} words, and overlap.least_words="
                f"{settings.least_words} or more are needed to find one inside other text: set it lower"
            )
        for one in own:
            if one.words:
                held.setdefault(one.words, one)
    return Index(tuple(held.values()), settings)


class Index:
    """What is looked for of all held-out problems; it pickles, and takes a few kilobytes for each."""

    def __init__(self, held: Sequence[_Held], settings: OverlapSettings) -> None:
        self._held, self._settings = held, settings
        texts = [one.words for one in held]
        self._vocabulary = Vocabulary(texts)
        encoded = self._vocabulary.encode(texts)
        rolling = Rolling(encoded.ids_W)
        self._whole = _whole(encoded, rolling, range(1, int(encoded.lengths_D.max(initial=0)) + 1))
        # A problem shorter than the n-gram is looked for as a whole.
        short = range(settings.least_words, settings.ngram)
        self._tables = {n: _whole(encoded, rolling, range(n, n + 1)) for n in short if n in encoded.lengths_D}
        self._tables[settings.ngram] = _ngrams(encoded, rolling, settings)
        self._evidence_P = _evidence(self._tables[settings.ngram], encoded, settings)
        self._reworded = Reworded(texts, self._vocabulary.numbers)

    def prompts(self, texts: Sequence[str]) -> list[Match | None]:
        """The best match of each problem's text, or None."""
        return [match for block in _blocks(texts) for match in self._prompts(block)]

    def traces(self, texts: Sequence[str], *, own: Sequence[str]) -> list[Match | None]:
        """The held-out problem that each trace recites, or None.

        `own` holds the prompt that each was asked: what a trace has from there is no evidence, for that prompt was
        checked itself. Only what is said word for word is found.
        """
        found: list[Match | None] = []
        for block in _blocks(texts):
            asked = [words(prompt) for prompt in own[len(found) : len(found) + len(block)]]
            recited = self._recited(block, self._vocabulary.encode(block), asked)
            found += [recited.get(text) for text in range(len(block))]
        return found

    def _prompts(self, block: Sequence[Sequence[str]]) -> list[Match | None]:
        encoded = self._vocabulary.encode(block)
        found = self._same(encoded)
        found = self._recited(block, encoded, None) | found
        if self._settings.near_share is not None:
            found = self._near(block, encoded, found, self._settings.near_share) | found
        return [found.get(text) for text in range(len(block))]

    def _same(self, encoded: Encoded) -> dict[int, Match]:
        filled = np.flatnonzero(encoded.lengths_D)
        hashes = Rolling(encoded.ids_W).spans(encoded.starts_D[filled], encoded.lengths_D[filled])
        at, grams = self._whole.find(hashes)
        pairs = zip(filled[at].tolist(), self._whole.owners_E[grams].tolist(), strict=True)
        return {
            text: self._match(owner, "in_benchmark", 1.0, (0, 0, int(encoded.lengths_D[text]))) for text, owner in pairs
        }

    def _recited(
        self, block: Sequence[Sequence[str]], encoded: Encoded, own: Sequence[Sequence[str]] | None
    ) -> dict[int, Match]:
        """The texts of which runs cover enough of a held-out problem, each with the one that is covered best."""
        rolling = Rolling(encoded.ids_W)
        asked = None if own is None else self._vocabulary.encode(own)
        best: dict[int, tuple[float, Shared]] = {}
        for n, grams in self._tables.items():
            places, found = grams.find(rolling.windows(n))
            if asked is not None and len(places):
                places, found = _without_own(grams, encoded, asked, places=places, found=found, n=n)
            if not len(places):
                continue
            least_P = self._needed(n)
            for shared in runs_of(grams, encoded, places=places, grams=found, words=n).grouped(least_P):
                share = self._share(shared, block[shared.text], n)
                if share > (best[shared.text][0] if shared.text in best else 0.0):
                    best[shared.text] = share, shared
        return {
            text: self._match(shared.owner, "benchmark_ngram", share, shared.runs[0])
            for text, (share, shared) in best.items()
        }

    def _needed(self, n: int) -> Ints:
        """How many words of each held-out problem runs of n-grams must cover."""
        if n < self._settings.ngram:
            return np.full(len(self._held), n)
        needed: Ints = np.ceil(self._evidence_P * self._settings.ngram_share).astype(np.int64)
        return needed

    def _share(self, shared: Shared, text: Sequence[str], n: int) -> float:
        """The share of the held-out problem that is covered; 0 where that is too little or the numbers are others."""
        if n < self._settings.ngram:
            return 1.0
        covered = shared.covered
        share = min(1.0, len(covered) / int(self._evidence_P[shared.owner]))
        if share < self._settings.ngram_share:
            return 0.0
        held = self._held[shared.owner].words
        return 0.0 if _other_numbers(shared, covered, text, held, near=self._settings.ngram) else share

    def _near(
        self, block: Sequence[Sequence[str]], encoded: Encoded, found: Collection[int], least: float
    ) -> dict[int, Match]:
        near: dict[int, Match] = {}
        for text, pairs in groupby(self._reworded.candidates(encoded), lambda pair: pair[0]):
            if text in found:
                continue
            likest = self._reworded.likest(block[text], [owner for _, owner in pairs], least=least)
            if likest is not None:
                score, owner = likest
                near[text] = self._match(owner, "benchmark_near", score, _longest(block[text], self._held[owner].words))
        return near

    def _match(self, owner: int, layer: Layer, score: float, run: Run) -> Match:
        held = self._held[owner]
        _, place, length = run
        return Match(held.benchmark, held.id, layer, score, " ".join(held.words[place : place + length]), held.text)


def _whole(encoded: Encoded, rolling: Rolling, lengths: range) -> Grams:
    """A table of the held-out problems of these lengths, each as a whole."""
    owners = np.flatnonzero((encoded.lengths_D >= lengths.start) & (encoded.lengths_D < lengths.stop))
    hashes = rolling.spans(encoded.starts_D[owners], encoded.lengths_D[owners])
    return table(hashes, owners, np.zeros_like(owners), most_owners=1)


def _ngrams(encoded: Encoded, rolling: Rolling, settings: OverlapSettings) -> Grams:
    hashes = rolling.windows(settings.ngram)
    places = np.arange(len(hashes))
    owners = encoded.text_of(places)
    places = places - encoded.starts_D[owners]
    inside = places + settings.ngram <= encoded.lengths_D[owners]
    return table(hashes[inside], owners[inside], places[inside], most_owners=settings.common)


def _evidence(grams: Grams, encoded: Encoded, settings: OverlapSettings) -> Ints:
    """How many words of each held-out problem lie in an n-gram of the table; least_words at least."""
    order = np.lexsort((grams.places_E, grams.owners_E))
    owners, places = grams.owners_E[order], grams.places_E[order]
    new = np.full(len(owners), settings.ngram)
    new[:-1] = np.where(np.diff(owners) == 0, np.minimum(np.diff(places), settings.ngram), settings.ngram)
    covered = np.bincount(owners, new, len(encoded.lengths_D)).astype(np.int64)
    return np.maximum(covered, settings.least_words)


def _without_own(
    grams: Grams, encoded: Encoded, asked: Encoded, *, places: Ints, found: Ints, n: int
) -> tuple[Ints, Ints]:
    """Those n-grams found in the texts that are not in the prompts that were asked."""
    own_places, own_found = grams.find(Rolling(asked.ids_W).windows(n))
    size = len(grams.hashes_G)
    own = asked.text_of(own_places) * size + own_found
    new = ~np.isin(encoded.text_of(places) * size + found, own)
    return places[new], found[new]


def _other_numbers(
    shared: Shared, covered: Collection[int], text: Sequence[str], held: Sequence[str], *, near: int
) -> bool:
    """Whether beside a run, so many words near, each has a number that the other lacks: a template, filled in anew."""
    for at, place, length in shared.runs:
        sides = [
            (at - near, at, place - near, place),
            (at + length, at + length + near, place + length, place + length + near),
        ]
        for start, end, held_start, held_end in sides:
            theirs = {held[n] for n in range(max(0, held_start), min(held_end, len(held))) if n not in covered}
            ours = set(text[max(0, start) : max(0, end)])
            if any(map(_is_number, theirs - ours)) and any(map(_is_number, ours - theirs)):
                return True
    return False


def _is_number(word: str) -> bool:
    return word[0].isdigit()


def _longest(text: Sequence[str], held: Sequence[str]) -> Run:
    matcher = SequenceMatcher(None, text[:_COMPARED_WORDS], held[:_COMPARED_WORDS], autojunk=False)
    found = matcher.find_longest_match()
    return found.a, found.b, found.size


def _blocks(texts: Sequence[str]) -> Iterator[list[list[str]]]:
    """The words of the texts, some texts at a time."""
    block: list[list[str]] = []
    size = 0
    for text in texts:
        block.append(words(text))
        size += len(block[-1])
        if size >= _BLOCK_WORDS:
            yield block
            block, size = [], 0
    if block:
        yield block
