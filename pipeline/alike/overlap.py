"""Problems and traces against the held-out problems of every benchmark: what must not be trained on.

Cheapest first: the same text after canonical words (in_benchmark); runs of shared words that cover most of a held-out
problem, anywhere in the text (benchmark_ngram); the same numbers and mostly the same words (benchmark_near). A problem
that differs in its numbers only is another problem; one that asks something else about the same story is not.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.alike.ngrams import Encoded, Grams, Rolling, Vocabulary, table
from pipeline.alike.recited import Recited
from pipeline.alike.reworded import Reworded
from pipeline.alike.shared import Run
from pipeline.alike.words import words
from pipeline.errors import Stop
from pipeline.record import Problem
from pipeline.settings import Settings

Layer = Literal["in_benchmark", "benchmark_ngram", "benchmark_near", "benchmark_paraphrase"]

_BLOCK_WORDS = 100_000
_COMPARED_WORDS = 1000
_TELLING_SHARE = 1 / 3
_QUOTED = re.compile('["\u201c\u201d]([^"\u201c\u201d\n]{1,200})["\u201c\u201d]')


class OverlapSettings(Settings):
    """What counts as a problem of a benchmark."""

    ngram: int = Field(default=8, ge=3, le=50)
    """A run of so many shared words is evidence, words."""
    ngram_share: float = Field(default=0.5, gt=0, le=1)
    """The share of a held-out problem's words that such runs must cover."""
    common: int = Field(default=2, ge=1)
    """Four words in a row that more held-out problems than so many have are how problems are put, and no evidence;
    problems."""
    least_words: int = Field(default=8, ge=2)
    """A held-out problem of fewer words is only looked for as the whole text, in the same words; words."""
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


def index_of(
    benchmarks: Mapping[str, Sequence[Problem]], settings: OverlapSettings, *, sample: Sequence[str] = ()
) -> "Index":
    """The index over all problems of these benchmarks; raises Stop for a benchmark that nothing could match.

    `sample` holds some thousand texts of the sources, always the same ones: what many of them say is how problems are
    put there, and no evidence. Without it a problem that is alone of its kind in the benchmarks, while a source has
    hundreds of the kind, is found in all of them.
    """
    held: dict[tuple[str, ...], _Held] = {}
    for name, problems in benchmarks.items():
        ordered = sorted(problems, key=lambda problem: problem.id)
        own = [_Held(name, problem.id, problem.prompt, tuple(words(problem.prompt))) for problem in ordered]
        if not own:
            raise Stop(f"benchmark {name} has no problems: nothing could match it; give its problems or take it out")
        if not any(one.words for one in own):
            raise Stop(f"benchmark {name} has no problem with a word in it: nothing could match it; take it out")
        for one in own:
            if one.words:
                held.setdefault(one.words, one)
    return Index(tuple(held.values()), settings, sample)


class Index:
    """What is looked for of all held-out problems; it pickles, and takes a few kilobytes for each."""

    def __init__(self, held: Sequence[_Held], settings: OverlapSettings, sample: Sequence[str]) -> None:
        self._held, self._settings = held, settings
        texts = [one.words for one in held]
        self._vocabulary = Vocabulary(texts)
        encoded = self._vocabulary.encode(texts)
        owners = np.arange(len(held))
        whole = Rolling(encoded.ids_W).spans(encoded.starts_D, encoded.lengths_D)
        self._whole: Grams = table(whole, owners, np.zeros_like(owners), most_owners=1)
        self._recited = Recited(
            texts,
            encoded,
            ngram=settings.ngram,
            share=settings.ngram_share,
            common=settings.common,
            least_words=settings.least_words,
            sample=self._vocabulary.encode([words(text) for text in sample]),
        )
        self._reworded = Reworded(texts, self._vocabulary.numbers)

    def prompts(self, texts: Sequence[str]) -> list[Match | None]:
        """The best match of each problem's text, or None."""
        found: list[Match | None] = []
        for block in _blocks(texts):
            found += self._prompts(texts[len(found) : len(found) + len(block)], block)
        return found

    def traces(self, texts: Sequence[str], *, own: Sequence[str]) -> list[Match | None]:
        """The held-out problem that each trace recites, or None.

        `own` holds the prompt that each was asked: what a trace has from there is no evidence, for that prompt was
        checked itself. Only what is said word for word is found.
        """
        found: list[Match | None] = []
        for block in _blocks(texts):
            asked = [words(prompt) for prompt in own[len(found) : len(found) + len(block)]]
            recited = self._recited.find(block, self._vocabulary.encode(block), self._vocabulary.encode(asked))
            told = {n: self._match(one.owner, "benchmark_ngram", one.share, one.run) for n, one in recited.items()}
            found += [told.get(text) for text in range(len(block))]
        return found

    def _prompts(self, texts: Sequence[str], block: Sequence[Sequence[str]]) -> list[Match | None]:
        encoded = self._vocabulary.encode(block)
        found = self._same(encoded)
        for text, one in self._recited.find(block, encoded).items():
            if text not in found and (one.share == 1.0 or not self._other_quotes(texts[text], one.owner)):
                found[text] = self._match(one.owner, "benchmark_ngram", one.share, one.run)
        if self._settings.near_share is not None:
            found |= self._near(texts, block, encoded, found, self._settings.near_share)
        return [found.get(text) for text in range(len(block))]

    def _same(self, encoded: Encoded) -> dict[int, Match]:
        filled = np.flatnonzero(encoded.lengths_D)
        hashes = Rolling(encoded.ids_W).spans(encoded.starts_D[filled], encoded.lengths_D[filled])
        at, grams = self._whole.find(hashes)
        pairs = zip(filled[at].tolist(), self._whole.owners_E[grams].tolist(), strict=True)
        return {
            text: self._match(owner, "in_benchmark", 1.0, (0, 0, int(encoded.lengths_D[text]))) for text, owner in pairs
        }

    def _near(
        self,
        texts: Sequence[str],
        block: Sequence[Sequence[str]],
        encoded: Encoded,
        found: Collection[int],
        least: float,
    ) -> dict[int, Match]:
        near: dict[int, Match] = {}
        for text, pairs in groupby(self._reworded.candidates(encoded), lambda pair: pair[0]):
            if text in found:
                continue
            likest = self._reworded.likest(block[text], [owner for _, owner in pairs], least=least)
            if likest is None:
                continue
            score, owner = likest
            if self._tells(block[text], owner) and not self._other_quotes(texts[text], owner):
                near[text] = self._match(owner, "benchmark_near", score, _longest(block[text], self._held[owner].words))
        return near

    def _tells(self, text: Sequence[str], owner: int) -> bool:
        """Whether the text has enough of the words that tell the held-out problem from its like."""
        if len(self._held[owner].words) < self._settings.least_words:
            return False
        own = {word for word in self._recited.own_words(owner) if len(word) > 1 and word.isalpha()}
        return bool(own) and len(own.intersection(text)) >= _TELLING_SHARE * len(own)

    def _other_quotes(self, text: str, owner: int) -> bool:
        """Whether both quote what the other does not: a quoted text is data, as a number is."""
        ours, theirs = (_quotes(said) for said in (text, self._held[owner].text))
        return bool(ours - theirs and theirs - ours)

    def _match(self, owner: int, layer: Layer, score: float, run: Run) -> Match:
        held = self._held[owner]
        _, place, length = run
        return Match(held.benchmark, held.id, layer, score, " ".join(held.words[place : place + length]), held.text)


def _quotes(text: str) -> set[tuple[str, ...]]:
    return {tuple(words(quoted)) for quoted in _QUOTED.findall(text)}


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
