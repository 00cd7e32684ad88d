"""Worked thoughts for a few reasoning-gym families, as a stand-in teacher would write them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Worked:
    """One worked reply: the long thought and the short reply with the boxed answer."""

    thought: str
    reply: str


SLIP_RATE = 0.1  # share of right replies whose thought makes a slip and mends it

_COUNT = re.compile(r'How many times does the letter "(\w)" appear in the text: "([^"]+)"\?')
_BACKWARD = re.compile(r"Spell this word backward \(example: sun -> nus\): (\w+)")
_REVERSE = re.compile(r"Reverse this list of words: ([^\n]+)")
_FILTER = re.compile(r"(Keep|Remove) all numbers (larger|smaller) than (-?[\d.]+) in this list: \[([^\]]*)\]")
_SUM = re.compile(r"State the final answer to the following arithmetic problem: ([\d+\- ]+) =")


def _spaced(letters: str) -> str:
    """Return the letters with a space between each two, so that each is its own token."""
    return " ".join(letters)


def _marked(letters: str, target: str, skip: int = 0) -> str:
    """Return the letters with each target followed by its number, the last `skip` unmarked."""
    seen, total, parts = 0, letters.count(target), []
    for letter in letters:
        seen += letter == target
        hit = letter == target and seen <= total - skip
        parts.append(f"{letter} {seen}" if hit else letter)
    return " ".join(parts)


def letter_counting(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Count a letter by spelling the text and numbering each hit, then count the hits again."""
    match = _COUNT.search(question)
    if match is None:
        return None
    target, text = match.group(1).lower(), match.group(2)
    letters = re.sub(r"\s", "", text).lower()
    count = letters.count(target)
    answer = max(0, count + rng.choice((-1, 1))) if wrong else count
    lines = [f"Spell it: {_spaced(letters)}."]
    if not wrong and rng.random() < SLIP_RATE:
        lines.append(f"Count {target}: {_marked(letters, target, 1)}. That is {count - 1}.")
        lines.append("Wait, I missed one. Again.")
    lines.append(f"Count {target}: {_marked(letters, target)}. That is {answer}.")
    hits = _spaced(target * answer) if answer else "none"
    lines.append(f"Let me check: {hits}, so {answer}.")
    return Worked("\n".join(lines), f"The answer is \\boxed{{{answer}}}.")


def _swapped(letters: str, rng: random.Random) -> str:
    """Return the letters with two unlike neighbours swapped, or doubled at the end."""
    places = [i for i in range(len(letters) - 1) if letters[i] != letters[i + 1]]
    if not places:
        return letters + letters[-1]
    i = rng.choice(places)
    return letters[:i] + letters[i + 1] + letters[i] + letters[i + 2 :]


def spell_backward(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Spell a word backward by numbering its letters and walking down the numbers."""
    match = _BACKWARD.search(question)
    if match is None:
        return None
    word = match.group(1)
    answer = _swapped(word[::-1], rng) if wrong else word[::-1]
    lines = [f"The letters in order: {_spaced(word)}."]
    if not wrong and rng.random() < SLIP_RATE:
        lines.append(f"From the last to the first: {_spaced(_swapped(answer, rng))}.")
        lines.append("Wait, that is not right, two letters are in the wrong place.")
    lines.append(f"From the last to the first: {_spaced(answer)}.")
    lines.append(f"Let me check, going back again: {_spaced(answer[::-1])}.")
    lines.append(f"Joined: {answer}.")
    return Worked("\n".join(lines), f"Spelled backward it is \\boxed{{{answer}}}.")


def word_sequence_reversal(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Reverse a list of words by numbering them and walking down the numbers."""
    match = _REVERSE.search(question)
    if match is None:
        return None
    words = match.group(1).strip().split(", ")
    answer = words[::-1]
    if wrong:
        i = rng.randrange(len(words) - 1)
        answer[i], answer[i + 1] = answer[i + 1], answer[i]
    numbered = [f"{i} {word}" for i, word in enumerate(words, 1)]
    lines = [f"Number the words: {', '.join(numbered)}."]
    if not wrong and rng.random() < SLIP_RATE:
        lines.append(f"Backward: {', '.join([*answer[:-2], answer[-1]])}.")
        lines.append("Wait, a word is missing. Again, with the numbers.")
    else:
        lines.append("Now from the last number down to 1.")
    down = [f"{len(words) - i} {word}" for i, word in enumerate(answer)]
    lines.append(f"Backward: {', '.join(down)}.")
    lines.append(f"Let me check: the last word was {words[-1]}, now it is first.")
    return Worked("\n".join(lines), f"The answer is \\boxed{{{', '.join(answer)}}}.")


def _listed(numbers: list[str]) -> str:
    """Return the numbers in the format of the question's list."""
    return str(numbers)


def number_filtering(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Keep or remove numbers by comparing each with the limit, then look again."""
    match = _FILTER.search(question)
    if match is None:
        return None
    verb, side, limit, listed = match.groups()
    numbers = re.findall(r"-?[\d.]+", listed)
    lines = [f"The limit is {limit}. I {verb.lower()} what is {side}."]
    kept = []
    slip = rng.randrange(len(numbers)) if not wrong and rng.random() < SLIP_RATE else -1
    for i, number in enumerate(numbers):
        above = float(number) > float(limit)
        inside = float(number) != float(limit) and above == (side == "larger")
        keep = inside == (verb == "Keep")
        if i == slip:
            lines.append(f"{number}: {'smaller' if above else 'larger'}. Wait, that is wrong.")
        relation = "larger" if above else "smaller"
        lines.append(f"{number}: {relation}, {'keep' if keep else 'drop'}.")
        kept += [number] if keep else []
    if wrong:
        kept = kept[1:] if kept else numbers[:1]
    lines.append(f"Let me check what is left: {', '.join(kept) or 'nothing'}.")
    return Worked("\n".join(lines), f"The new list is \\boxed{{{_listed(kept)}}}.")


def chain_sum(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Add and subtract from left to right, keeping a running total."""
    match = _SUM.search(question)
    if match is None:
        return None
    terms = match.group(1).split()
    total, steps = int(terms[0]), []
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        after = total + int(term) if sign == "+" else total - int(term)
        steps.append(f"{total} {sign} {term} = {after}")
        total = after
    answer = total + rng.choice((-1, 1, 10)) if wrong else total
    lines = ["From left to right: " + ", ".join(steps) + "."]
    if not wrong and rng.random() < SLIP_RATE:
        lines.insert(0, f"At first sight it is {total + rng.choice((-1, 1))}, but let me check.")
    lines.append(f"So the result is {answer}.")
    return Worked("\n".join(lines), f"The answer is \\boxed{{{answer}}}.")


FAMILIES: tuple[Callable[[str, random.Random, bool], Worked | None], ...] = (
    letter_counting,
    spell_backward,
    word_sequence_reversal,
    number_filtering,
    chain_sum,
)


def work(question: str, rng: random.Random, wrong: bool = False) -> Worked | None:
    """Return the worked reply of the first family that knows the question, or None."""
    for family in FAMILIES:
        worked = family(question, rng, wrong)
        if worked is not None:
            return worked
    return None
