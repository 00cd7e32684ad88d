"""Honest filler problems, as many as one asks for: no two of them say the same, whatever their words.

Row i takes story i % len(STORIES) and the numbers that a one-to-one map gives to i // len(STORIES): no two rows of a
story share their numbers. The number at place p of n is p modulo n: no row has another's numbers in other order either.
Names, things, scenes and wordings are drawn: rows of one story look as unlike as problems of one textbook chapter do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, prod
from random import Random

from planted.stories import DETAILS, PLACES, PLAIN, SCENES, THINGS
from planted.story import DERIVED, Story
from planted.tex_stories import INTROS, TASKS, TEX
from planted.vocabulary import BOYS, GIRLS

PLAIN_ENDS = ("", "", "", "", "", " Show your steps.", " Explain how you know.", " Give a whole number.")
TEX_ENDS = ("", "", "", "", " Express your answer as an integer.", " Give an exact value.", " No calculator is needed.")
LETTERS = ("x", "y", "z", "t", "n", "k", "u", "w", "r", "s")
FUNCTIONS = ("f", "g", "h", "p", "q")
STORIES = (*PLAIN, *TEX)
NEEDED = tuple(story.derived() for story in STORIES)
CAPITALS = ("A", "B", "C", "P", "Q", "R", "S", "T", "M", "N")


@dataclass(frozen=True)
class Filler:
    """One made problem and its answer."""

    problem: str
    answer: str


def rows(count: int, seed: int) -> Iterator[Filler]:
    """`count` problems, no two with one story and the same numbers; a longer run begins with a shorter one."""
    for index in range(count):
        yield filler(index, seed)


def filler(index: int, seed: int, *, numbers_of: int | None = None) -> Filler:
    """Row `index`; with `numbers_of` the same words with the numbers of that row, which must be of the same story."""
    story = STORIES[index % len(STORIES)]
    tex = index % len(STORIES) >= len(PLAIN)
    other = index if numbers_of is None else numbers_of
    assert other % len(STORIES) == index % len(STORIES), f"rows {index} and {other} tell other stories"
    numbers = numbers_at(story, other // len(STORIES), seed)
    rng = Random(seed * 1_000_000_007 + index)
    words = _words(rng, tex=tex)
    words.update(numbers)
    for name in NEEDED[index % len(STORIES)]:
        words[name] = DERIVED[name](words)
    answer = story.answer(words)
    parts = [_one(rng, choices) for choices in story.sentences]
    if tex:
        body = _one(rng, INTROS) + " " + " ".join(parts) + _one(rng, TEX_ENDS)
    else:
        body = f"{_one(rng, SCENES)} {_one(rng, DETAILS)} {' '.join(parts)}" + _one(rng, PLAIN_ENDS)
    return Filler(" ".join(body.format_map(words).split()), str(answer))


def numbers_at(story: Story, code: int, seed: int) -> dict[str, int]:
    """The numbers of the `code`-th row of a story by name: a, b, c and so on; one to one in `code`."""
    places = len(story.ranges)
    sizes = [max(1, (high - low) // places) for low, high in story.ranges]
    space = prod(sizes)
    assert code < space, f"a story has room for {space} rows, asked for {code + 1}"
    step = _coprime(int(space * 0.618) + 2 * (seed % 97), space)
    left = (code * step + seed * 7919) % space
    numbers = {}
    for place, ((low, _high), size) in enumerate(zip(story.ranges, sizes, strict=True)):
        left, choice = divmod(left, size)
        first = low + (place - low) % places
        numbers["abcdef"[place]] = first + places * choice
    return numbers


def _coprime(start: int, space: int) -> int:
    while gcd(start, space) != 1:
        start += 1
    return start


def _one(rng: Random, choices: tuple[str, ...]) -> str:
    return choices[int(rng.random() * len(choices))]


def _words(rng: Random, *, tex: bool) -> dict[str, object]:
    """The words that a story's sentences ask for by name."""
    if tex:
        x, y = rng.sample(LETTERS, 2)
        f, g = rng.sample(FUNCTIONS, 2)
        first, second, third = rng.sample(CAPITALS, 3)
        return {"x": x, "y": y, "f": f, "g": g, "A": first, "B": second, "C": third, "task": _one(rng, TASKS)}
    girl = rng.random() < 0.5
    person = _one(rng, GIRLS if girl else BOYS)
    friend = _one(rng, BOYS if girl else GIRLS)
    one, many, box, boxes = THINGS[int(rng.random() * len(THINGS))]
    _one_other, others, _box, _boxes = THINGS[int(rng.random() * len(THINGS))]
    while others == many:
        _one_other, others, _box, _boxes = THINGS[int(rng.random() * len(THINGS))]
    place = _one(rng, PLACES)
    she, her = ("she", "her") if girl else ("he", "his")
    return {
        "p": person, "q": friend, "she": she, "She": she.capitalize(), "her": her, "Her": her.capitalize(),
        "he": "he" if girl else "she", "thing": one, "things": many, "box": box, "boxes": boxes, "others": others,
        "place": place, "Place": place[0].upper() + place[1:],
    }  # fmt: skip
