"""What the stand-in teacher writes for the demo's problems: it thinks aloud, checks itself, and slips now and then.

No model is behind it: the answer is computed, and the thought written around it.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

WITHOUT_THOUGHT = "Do not think aloud."
"""A prompt that says so gets a solution to read instead of a thought."""
_SLIPS = 0.1
"""The share of right answers whose thought makes a mistake on the way and mends it."""

_COUNT = re.compile(r'How many times does the letter "(\w)" appear in the text: "([^"]+)"\?')
_REVERSE = re.compile(r"Reverse this list of words: ([^\n]+)")


@dataclass(frozen=True, slots=True)
class Worked:
    """A thought, and the short reply with the boxed answer."""

    thought: str
    reply: str


def work(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """A worked answer to the first kind of problem that the question is, or None; `wrong` ends on a wrong answer."""
    return next((worked for kind in KINDS if (worked := kind(question, rng, wrong)) is not None), None)


def count_letter(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Spell the text, number each hit, and count the hits once more."""
    match = _COUNT.search(question)
    if match is None:
        return None
    letter, letters = match[1].lower(), re.sub(r"\s", "", match[2]).lower()
    count = letters.count(letter)
    answer = max(0, count + rng.choice((-1, 1))) if wrong else count
    # A wrong answer must be wrong: there is nothing below zero to slip to.
    answer += wrong and answer == count
    lines = [f"Spell it: {' '.join(letters)}."]
    if count and not wrong and rng.random() < _SLIPS:
        lines.append(f"Count {letter}: {_numbered(letters, letter, stop=count - 1)}. That is {count - 1}.")
        lines.append("Wait, I missed one. Again.")
    lines.append(f"Count {letter}: {_numbered(letters, letter, stop=count)}. That is {answer}.")
    lines.append(f"Let me check: {' '.join(letter * answer) or 'none'}, so {answer}.")
    return Worked("\n".join(lines), f"The answer is \\boxed{{{answer}}}.")


def reverse_words(question: str, rng: random.Random, wrong: bool) -> Worked | None:
    """Number the words, and walk down the numbers."""
    match = _REVERSE.search(question)
    if match is None:
        return None
    words = match[1].strip().split(", ")
    answer = _swapped(words[::-1], rng) if wrong else words[::-1]
    lines = [f"Number the words: {', '.join(f'{place} {word}' for place, word in enumerate(words, start=1))}."]
    if not wrong and len(words) > 2 and rng.random() < _SLIPS:
        lines.append(f"Backward: {', '.join([*answer[:-2], answer[-1]])}.")
        lines.append("Wait, a word is missing. Again, with the numbers.")
    else:
        lines.append("Now from the last number down to 1.")
    down = ", ".join(f"{len(words) - place} {word}" for place, word in enumerate(answer))
    lines.append(f"Backward: {down}.")
    lines.append(f"Let me check: the last word was {words[-1]}, now it is first.")
    return Worked("\n".join(lines), f"The answer is \\boxed{{{', '.join(answer)}}}.")


def written_out(worked: Worked) -> Worked:
    """The same as a solution to read: its steps and the answer, with nothing of slips, plans and checks."""
    lines = worked.thought.split("\n")
    slip = next((at for at, line in enumerate(lines) if line.startswith("Wait")), 0)
    # What stands between the first line and the slip was wrong.
    steps = [line for line in (lines[0], *lines[slip + 1 :]) if not line.startswith(("Now from", "Let me check"))]
    return Worked("", "\n".join([*steps, worked.reply]))


KINDS: tuple[Callable[[str, random.Random, bool], Worked | None], ...] = (count_letter, reverse_words)


def _numbered(letters: str, letter: str, *, stop: int) -> str:
    """The letters with each hit followed by its number, up to hit number `stop`."""
    seen, parts = 0, []
    for each in letters:
        seen += each == letter
        parts.append(f"{each} {seen}" if each == letter and seen <= stop else each)
    return " ".join(parts)


def _swapped(words: list[str], rng: random.Random) -> list[str]:
    """The words with two unlike neighbours swapped; a list of equal words loses its last."""
    places = [place for place in range(len(words) - 1) if words[place].casefold() != words[place + 1].casefold()]
    if not places:
        return words[:-1]
    place = rng.choice(places)
    return [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
