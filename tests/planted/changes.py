"""Problems said again: renamed, reworded, in another format, or with other numbers (which makes another problem).

Each change takes a text and a source of chance and gives the changed text, or the text itself where nothing can change.
`renamed`, `reworded` and `reformatted` keep all numbers ("three" and "3" count as one); `other_numbers` changes some.
"""

import re
from collections.abc import Callable
from random import Random

from planted.vocabulary import BOYS, GIRLS, KINDS, MORE_BOYS, MORE_GIRLS, NUMBER_WORDS, SYNONYMS

Change = Callable[[str, Random], str]

ASY = r"\[asy\].*?\[/asy\]"
MATH = re.compile(
    ASY
    + r"|\$\$.*?\$\$|(?<!\\)\$(?:\\\$|[^$])*\$|\\\[.*?\\\]|\\\(.*?\\\)|\\begin\{(align\*?|equation\*?)\}.*?\\end\{\1\}",
    re.S,
)
TEX = re.compile(r"\\\S|\^|\$\d+\$|\$[a-zA-Z(]")
# Commands and their arguments in which letters are words and no variables.
COMMANDS = re.compile(
    ASY + r"|\\(?:text|textit|textbf|mathrm|operatorname|mbox|begin|end|mathcal|mathbb|color)\*?\s*\{[^{}]*\}"
    r"|\\mathbf\{R\}|\\[a-zA-Z]+|\\.",
    re.S,
)
UNITS = {"cm", "mm", "km", "kg", "ft", "th", "st", "nd", "rd", "in", "or", "if", "to"}
FORENAMES = {**dict.fromkeys((*GIRLS, *MORE_GIRLS), GIRLS), **dict.fromkeys((*BOYS, *MORE_BOYS), BOYS)}
DIGIT_WORDS = {digits: word for word, digits in NUMBER_WORDS.items()}


def masked(text: str) -> tuple[str, list[str]]:
    """The text with every formula behind a mark, and the formulas; without LaTeX there are none ($5 is money there)."""
    formulas: list[str] = []
    if not TEX.search(text):
        return text, formulas

    def hide(found: re.Match[str]) -> str:
        formulas.append(found.group())
        return f"\ue000{chr(0xE100 + len(formulas) - 1)}\ue001"

    return MATH.sub(hide, text), formulas


def unmasked(prose: str, formulas: list[str]) -> str:
    return re.sub("\ue000(.)\ue001", lambda found: formulas[ord(found.group(1)) - 0xE100], prose)


def renamed(text: str, rng: Random) -> str:
    """The same problem with other names, other things and other letters for its variables."""
    prose, formulas = masked(text)
    letters = _other_letters(prose, formulas, rng)
    if letters:
        formulas = [_with_letters(formula, letters) for formula in formulas]
    return unmasked(_other_things(_other_names(prose, rng), rng), formulas)


def _other_names(prose: str, rng: Random) -> str:
    said = [word for word in dict.fromkeys(re.findall(r"\b[A-Z][a-z]+\b", prose)) if word in FORENAMES]
    taken = set(re.findall(r"\w+", prose))
    new: dict[str, str] = {}
    for name in said:
        new[name] = rng.choice([other for other in FORENAMES[name] if other not in taken])
        taken.add(new[name])
    return re.sub(r"\b[A-Z][a-z]+\b", lambda found: new.get(found.group(), found.group()), prose)


def _other_things(prose: str, rng: Random) -> str:
    taken = set(re.findall(r"[a-z]+", prose.lower()))
    new: dict[str, str] = {}
    for kind in KINDS:
        free = [pair for pair in kind if not taken & set(pair)]
        rng.shuffle(free)
        for one, many in kind:
            if taken & {one, many} and free:
                other = free.pop()
                new.update({one: other[0], many: other[1]})
    if not new:
        return prose

    def swap(found: re.Match[str]) -> str:
        article, thing = found.group(1) or "", new[found.group(2)]
        if article.lower() in ("a ", "an "):
            article = article[0] + ("n " if thing[0] in "aeiou" else " ")
        return article + thing

    return re.sub(rf"(?<!hot )\b([Aa]n? )?\b({'|'.join(new)})\b", swap, prose)


def _other_letters(prose: str, formulas: list[str], rng: Random) -> dict[str, str]:
    """A one-to-one map of the formulas' variables to other letters; empty where a letter may be part of a word."""
    runs = [run for formula in formulas for run in re.findall(r"[A-Za-z]+", COMMANDS.sub(" ", formula))]
    alone = {run for run in runs if len(run) == 1}
    for run in runs:
        if len(run) > 1 and run not in UNITS and not run.isupper() and not set(run) <= alone:
            return {}
    words = set(re.findall(r"\b[A-Za-z]+\b", prose))
    small = {letter for letter in alone if letter in "abckmnpqrstuvwxyz"}
    functions = {letter for letter in alone if letter in "fgh"}
    if any(len(word) == 1 and word.islower() and word != "a" for word in words):
        small, functions = set(), set()
    large = {letter for run in runs if run.isupper() for letter in run}
    if any(word.isupper() and word not in ("A", "I") for word in words):
        large = set()
    new: dict[str, str] = {}
    for used, pool in ((small, "abckmnpqrstuvwxyz"), (functions, "fghpq"), (large, "ABCDEFGHJKLMNPQRSTUVWXYZ")):
        free = [letter for letter in pool if letter not in alone and letter not in large and letter not in new.values()]
        free += sorted(used) if len(free) < len(used) else []
        new.update(zip(sorted(used), rng.sample(free, len(used)), strict=True))
    return new


def _with_letters(formula: str, letters: dict[str, str]) -> str:
    parts, end = [], 0
    for found in COMMANDS.finditer(formula):
        parts += [_swap_runs(formula[end : found.start()], letters), found.group()]
        end = found.end()
    return "".join([*parts, _swap_runs(formula[end:], letters)])


def _swap_runs(piece: str, letters: dict[str, str]) -> str:
    def swap(found: re.Match[str]) -> str:
        run = found.group()
        return run if run in UNITS else "".join(letters.get(letter, letter) for letter in run)

    return re.sub(r"[A-Za-z]+", swap, piece)


OPENERS = (
    "Please solve this: ", "Here is a problem. ", "Consider the following. ", "I would like some help with this one. ",
    "Solve the following problem. ", "Can you work this out? ", "Think carefully. ",
)  # fmt: skip
CLOSERS = (
    " Please explain your reasoning.", " Show your work.", " Thank you!", " Give the final answer.",
    " Justify your answer.",
    " Please answer with care.", " State the final result clearly.",
)  # fmt: skip


def reworded(text: str, rng: Random) -> str:
    """The same problem with about a tenth to a quarter of its words changed, added or moved."""
    prose, formulas = masked(text)
    aim = max(1.0, rng.uniform(0.10, 0.25) * len(text.split()))
    changed = 0
    edits: list[Change] = [_synonym(pattern, others) for pattern, others in PATTERNS if pattern.search(prose)]
    edits += [_move_if, _move_phrase, _ask_otherwise, _spell_number, _spell_number, _write_digits, _percent, _let]
    rng.shuffle(edits)
    for edit in [*edits, rng.choice((_opened, _closed))]:
        if changed >= aim:
            break
        after = edit(prose, rng)
        if after != prose:
            changed += (
                4
                if edit in (_move_if, _move_phrase, _opened, _closed)
                else 1 + abs(len(after.split()) - len(prose.split()))
            )
            prose = after
    after = unmasked(prose, formulas)
    return after if after != text else _closed(text, rng)


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'-])(?:{pattern})" + (r"(?![\w-])" if pattern[-1].isalnum() else ""))


PATTERNS = tuple((_whole(line[0]), line[1:]) for line in SYNONYMS)


def _synonym(pattern: re.Pattern[str], others: tuple[str, ...]) -> Change:
    def edit(prose: str, rng: Random) -> str:
        other = rng.choice(others)

        def swap(found: re.Match[str]) -> str:
            new = found.expand(other)
            return new + " " if found.group().endswith(" ") and not new.endswith(" ") else new

        return pattern.sub(swap, prose)

    return edit


def _move_if(prose: str, rng: Random) -> str:
    """`If A, how many B?` as `How many B if A?`, and the other way round."""
    moved = re.sub(
        r"(^|(?<=[.?!] ))If ([^.?!,]+), (?:then )?(how|what) ([^.?!]+)\?",
        lambda found: f"{found.group(3).capitalize()} {found.group(4)} if {found.group(2)}?",
        prose,
        count=1,
    )
    if moved != prose:
        return moved
    return re.sub(
        r"(^|(?<=[.?!] ))(How|What) ([^.?!,]+?),? if ([^.?!,]+)\?",
        lambda found: f"If {found.group(4)}, {found.group(2).lower()} {found.group(3)}?",
        prose,
        count=1,
    )


def _move_phrase(prose: str, rng: Random) -> str:
    """`On Monday, she sold 5.` as `She sold 5 on Monday.`"""
    return re.sub(
        r"(^|(?<=[.?!] ))(In|On|At|During|After|Before|For) ((?:[\w']+ ){0,3}[\w']+), ([^.?!,]+)\.(?= |$)",
        lambda found: f"{found.group(4)[0].upper()}{found.group(4)[1:]} {found.group(2).lower()} {found.group(3)}.",
        prose,
        count=1,
    )


def _ask_otherwise(prose: str, rng: Random) -> str:
    """`What is the A?` as `Find the A.`, and the other way round."""
    verb = rng.choice(("Find", "Determine", "Calculate", "Work out"))
    asked = re.sub(r"What(?: is|'s) (the [^.?!\n]+)\?", rf"{verb} \1.", prose)
    if asked != prose:
        return asked
    return re.sub(
        r"(^|(?<=[.?!] ))(Find|Determine|Compute|Calculate|Evaluate) (the [^.?!\n]+|\ue000.\ue001)\.(?= |$)",
        r"What is \3?",
        prose,
        count=1,
    )


def _let(prose: str, rng: Random) -> str:
    return re.sub(r"\bLet (\ue000.\ue001) be ", r"Suppose that \1 is ", prose)


def _spell_number(prose: str, rng: Random) -> str:
    found = list(re.finditer(r"(?<![\w.,:$/(*+=\\-])\d{1,2}(?![\w.,:/*+=)%-]| ?(?:AM|PM|am|pm|a\.m|p\.m)\b)", prose))
    found = [one for one in found if one.group() in DIGIT_WORDS]
    if not found:
        return prose
    one = rng.choice(found)
    word = DIGIT_WORDS[one.group()]
    starts = one.start() == 0 or prose[: one.start()].endswith((". ", "? ", "! "))
    return prose[: one.start()] + (word.capitalize() if starts else word) + prose[one.end() :]


def _write_digits(prose: str, rng: Random) -> str:
    found = list(re.finditer(rf"(?<![\w-])({'|'.join(NUMBER_WORDS)})(?![\w-])", prose))
    if not found:
        return prose
    one = rng.choice(found)
    return prose[: one.start()] + NUMBER_WORDS[one.group()] + prose[one.end() :]


def _percent(prose: str, rng: Random) -> str:
    return re.sub(r"(\d)\\?%", r"\1 percent", prose)


def _opened(prose: str, rng: Random) -> str:
    return rng.choice(OPENERS) + prose


def _closed(prose: str, rng: Random) -> str:
    return prose.rstrip() + rng.choice(CLOSERS)
