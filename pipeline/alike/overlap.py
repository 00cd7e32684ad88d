"""Problems and traces against the held-out problems of every benchmark: who must not be trained on.

Cheapest first: the same text after canonical words (in_benchmark); runs of shared words that cover most of a held-out
problem, anywhere in the text (benchmark_ngram); the same numbers and mostly the same words (benchmark_near).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.alike.ngrams import Encoded, Grams, Ints, Rolling, Vocabulary, table
from pipeline.alike.reworded import Reworded, telling
from pipeline.alike.shared import Run, Shared, runs_of
from pipeline.alike.words import words
from pipeline.errors import Stop
from pipeline.record import Problem
from pipeline.settings import Settings

Layer = Literal["in_benchmark", "benchmark_ngram", "benchmark_near", "benchmark_paraphrase"]

_BLOCK_WORDS = 200_000
_COMPARED_WORDS = 2000


class OverlapSettings(Settings):
    """What counts as a problem of a benchmark."""

    ngram: int = Field(default=8, ge=3, le=50)
    """A run of so many shared words is evidence, words."""
    ngram_share: float = Field(default=0.5, gt=0, le=1)
    """The share of a held-out problem's words that such runs must cover."""
    common: int = Field(default=10, ge=1)
    """A run that is in more held-out problems than so many is how such problems are put, and no evidence."""
    least_words: int = Field(default=8, ge=2)
    """A held-out problem of fewer words is matched as the same text only, not inside or beside other text, words."""
    near_share: float | None = Field(default=0.6, gt=0, le=1)
    """The share of the words of both problems, weighed by how rare they are, that must be in both where the numbers are
    the same; null: word for word matches only."""


@dataclass(frozen=True, slots=True)
class Match:
    """A held-out problem that a text contains or says again.

    `score` is the share of the held-out problem that is covered (in_benchmark, benchmark_ngram) or the share of the
    words of both that is in both (benchmark_near); `shared` the longest run of words that is in both, `theirs` the
    held-out problem's text.
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
    problem: Problem
    words: tuple[str, ...]


def index_of(benchmarks: Mapping[str, Sequence[Problem]], settings: OverlapSettings) -> "Index":
    """The index over all problems of these benchmarks; raises Stop for a benchmark that nothing could match."""
    held: dict[tuple[str, ...], _Held] = {}
    for name, problems in benchmarks.items():
        if not problems:
            raise Stop(f"benchmark {name} is empty: nothing would be found in it; give it its problems or remove it")
        own = [_Held(name, problem, tuple(words(problem.prompt))) for problem in sorted(problems, key=lambda p: p.id)]
        if all(len(one.words) < settings.least_words for one in own):
            longest = max(len(one.words) for one in own)
            raise Stop(
                f"benchmark {name}: its longest problem has {longest} words and only those of least_words="
                f"{settings.least_words} or more are looked for inside other text: set overlap.least_words lower"
            )
        for one in own:
            if one.words:
                held.setdefault(one.words, one)
    return Index(tuple(held.values()), settings)


class Index:
    """What is looked for of all held-out problems. It pickles, and is some kilobytes a problem."""

    def __init__(self, held: Sequence[_Held], settings: OverlapSettings) -> None:
        self._held, self._settings = held, settings
        texts = [one.words for one in held]
        self._vocabulary = Vocabulary(texts)
        encoded = self._vocabulary.encode(texts)
        rolling = Rolling(encoded.ids_W)
        owners = np.arange(len(held))
        self._whole = table(rolling.spans(encoded.starts_D, encoded.lengths_D), owners, owners * 0, most_owners=1)
        self._runs = {settings.ngram: self._table(encoded, rolling)}
        for length in range(settings.least_words, settings.ngram):
            short = np.flatnonzero(encoded.lengths_D == length)
            if len(short):
                hashes = rolling.spans(encoded.starts_D[short], encoded.lengths_D[short])
                self._runs[length] = table(hashes, short, short * 0, most_owners=1)
        self._evidence_P = self._evidence()
        self._reworded = Reworded(texts, self._vocabulary.numbers) if settings.near_share is not None else None

    def prompts(self, texts: Sequence[str]) -> list[Match | None]:
        """The best match of each problem's text, or None."""
        return [match for block in _blocks(texts) for match in self._block(block)]

    def traces(self, texts: Sequence[str], *, own: Sequence[str]) -> list[Match | None]:
        """The held-out problem that each trace recites, or None; what is in its `own` prompt too is no evidence."""
        found: list[Match | None] = []
        for block in _blocks(texts):
            asked = [words(prompt) for prompt in own[len(found) : len(found) + len(block)]]
            shared = self._best(block, self._vocabulary.encode(block), asked)
            found += [self._match(shared[text], block[text]) if text in shared else None for text in range(len(block))]
        return found

    def _block(self, block: Sequence[list[str]]) -> list[Match | None]:
        encoded = self._vocabulary.encode(block)
        found: dict[int, Match] = {}
        filled = np.flatnonzero(encoded.lengths_D)
        rolling = Rolling(encoded.ids_W)
        texts, wholes = self._whole.find(rolling.spans(encoded.starts_D[filled], encoded.lengths_D[filled]))
        for text, owner in zip(filled[texts].tolist(), self._whole.owners_E[wholes].tolist(), strict=True):
            found[text] = self._told(owner, "in_benchmark", 1.0, (0, 0, len(block[text])))
        for text, best in self._best(block, encoded, ()).items():
            found.setdefault(text, self._match(best, block[text]))
        if self._reworded is not None:
            for text, match in self._near(block, encoded, self._reworded, found).items():
                found[text] = match
        return [found.get(text) for text in range(len(block))]

    def _best(
        self, block: Sequence[list[str]], encoded: Encoded, own: Sequence[Sequence[str]]
    ) -> dict[int, tuple[float, Shared]]:
        """For each text of which runs cover enough of a held-out problem: the share, and what is shared."""
        best: dict[int, tuple[float, Shared]] = {}
        rolling = Rolling(encoded.ids_W)
        asked = self._vocabulary.encode(own) if own else None
        asked_rolling = Rolling(asked.ids_W) if asked is not None else None
        for length, grams in self._runs.items():
            places, found = grams.find(rolling.windows(length))
            if asked is not None:
                own_places, own_found = grams.find(asked_rolling.windows(length))
                size = len(grams.hashes_G)
                mine = asked.text_of(own_places) * size + own_found
                new = ~np.isin(encoded.text_of(places) * size + found, mine)
                places, found = places[new], found[new]
            if not len(places):
                continue
            runs = runs_of(grams, encoded, places=places, grams=found, words=length)
            for shared in runs.grouped(self._least_P(length)):
                share = self._share(shared, block[shared.text], length)
                if share > best.get(shared.text, (0.0, None))[0]:
                    best[shared.text] = (share, shared)
        return best

    def _least_P(self, length: int) -> Ints:
        if length < self._settings.ngram:
            return np.full(len(self._held), length)
        return np.ceil(self._evidence_P * self._settings.ngram_share).astype(np.int64)

    def _share(self, shared: Shared, text: Sequence[str], length: int) -> float:
        if length < self._settings.ngram:
            return 1.0
        covered = shared.covered
        share = len(covered) / int(self._evidence_P[shared.owner])
        held = self._held[shared.owner].words
        if share < self._settings.ngram_share or _other_number(shared, covered, text, held):
            return 0.0
        return share

    def _near(self, block, encoded, reworded, found) -> dict[int, Match]:
        best: dict[int, tuple[float, int]] = {}
        told = {}
        for text, owner in reworded.candidates(encoded):
            if text in found:
                continue
            if text not in told:
                told[text] = telling(block[text])
            score = reworded.likeness(told[text], owner)
            if score >= self._settings.near_share and score > best.get(text, (0.0, 0))[0]:
                best[text] = (score, owner)
        return {
            text: self._told(owner, "benchmark_near", score, _longest(block[text], self._held[owner].words))
            for text, (score, owner) in best.items()
        }

    def _match(self, best: tuple[float, Shared], text) -> Match:
        share, shared = best
        return self._told(shared.owner, "benchmark_ngram", share, shared.runs[0])

    def _told(self, owner: int, layer: Layer, score: float, run: Run) -> Match:
        held = self._held[owner]
        _, place, length = run
        shared = " ".join(held.words[place : place + length])
        return Match(held.benchmark, held.problem.id, layer, score, shared, held.problem.prompt)

    def _table(self, encoded: Encoded, rolling: Rolling) -> Grams:
        words = self._settings.ngram
        hashes = rolling.windows(words)
        places = np.arange(len(hashes))
        owners = encoded.text_of(places)
        at = places - encoded.starts_D[owners]
        inside = at + words <= encoded.lengths_D[owners]
        return table(hashes[inside], owners[inside], at[inside], most_owners=self._settings.common)

    def _evidence(self) -> Ints:
        """How many words of each held-out problem lie in a run that is evidence; at least least_words."""
        grams = self._runs[self._settings.ngram]
        order = np.lexsort((grams.places_E, grams.owners_E))
        owners, places = grams.owners_E[order], grams.places_E[order]
        gap = np.full(len(owners), self._settings.ngram)
        gap[1:] = np.where(np.diff(owners) == 0, np.minimum(np.diff(places), self._settings.ngram), gap[1:])
        return np.maximum(np.bincount(owners, gap, len(self._held)), self._settings.least_words).astype(np.int64)


def _other_number(shared: Shared, covered: set[int], text: Sequence[str], held: Sequence[str]) -> bool:
    """Whether a run ends where the text has another number than the held-out problem: a template, filled in anew."""
    for at, place, length in shared.runs:
        for there, here in ((at - 1, place - 1), (at + length, place + length)):
            if 0 <= there < len(text) and 0 <= here < len(held) and here not in covered:
                pair = text[there], held[here]
                if pair[0] != pair[1] and pair[0][0].isdigit() and pair[1][0].isdigit():
                    return True
    return False


def _longest(text: Sequence[str], held: Sequence[str]) -> Run:
    matcher = SequenceMatcher(None, text[:_COMPARED_WORDS], held[:_COMPARED_WORDS], autojunk=False)
    return tuple(matcher.find_longest_match())


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
