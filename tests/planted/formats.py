"""Problems in another notation, and problems with other numbers (which are other problems)."""

import re
from random import Random

from planted.changes import DIGIT_WORDS, masked, unmasked
from planted.vocabulary import NUMBER_WORDS

UNICODE = (
    (r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}", r"(\1)/(\2)"), (r"\\[dt]?frac(\d)(\d)", r"\1/\2"),
     (r"\((\w+)\)/\((\w+)\)", r"\1/\2"),
    (r"\\sqrt\{(\w+)\}", r"√\1"), (r"\\sqrt\{([^{}]+)\}", r"√(\1)"), (r"\^\{?\\circ\}?", "°"), (r"\^\{?2\}?(?!\d)",
     "²"), (r"\^\{?3\}?(?!\d)", "³"),
    (r"\\cdot ?", "·"), (r"\\times ?", "×"), (r"\\leq?(?![a-z]) ?", "≤ "), (r"\\geq?(?![a-z]) ?", "≥ "), (r"\\neq? ?",
     "≠ "),
    (r"\\pi(?![a-z])", "π"), (r"\\theta", "θ"), (r"\\omega", "ω"), (r"\\angle ?", "∠"), (r"\\triangle ?", "△"),
     (r"\\in(?![a-z])", "∈"), (r"\\left|\\right|\\!|\\displaystyle ?", ""),
    (r"\\[lc]?dots", "..."), (r"\\(log|sin|cos|tan|gcd|det|max|min|arcsin|arctan|sec|cot)(?![a-z])", r"\1"),
     (r"\\overline\{([^{}]+)\}", r"\1"),
    (r"\\mathbf\{([^{}]+)\}", r"\1"), (r"\\text\{([^{}]+)\}", r"\1"), (r"\\q?quad", " "), (r"\\pmod ?\{?(\w+)\}?",
     r"(mod \1)"), (r"\\equiv", "≡"), (r"\\mid", "|"),
    (r"\\l?langle|\\rangle", ""), (r"\^\{([^{}]+)\}", r"^(\1)"), (r"_\{([^{}]+)\}", r"_\1"),
)  # fmt: skip
ASCII = (
    (r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}", r"(\1)/(\2)"), (r"\\[dt]?frac(\d)(\d)", r"\1/\2"), (r"\\sqrt\{([^{}]+)\}",
     r"sqrt(\1)"),
    (r"\^\{?\\circ\}?", " degrees"), (r"\^\{([^{}]+)\}", r"**(\1)"), (r"\^", "**"), (r"\\cdot ?|\\times ?", "* "),
     (r"\\leq?(?![a-z])", "<="), (r"\\geq?(?![a-z])", ">="),
    (r"\\neq?", "!="), (r"\\left|\\right|\\!|\\displaystyle ?", ""), (r"\\[lc]?dots", "..."),
    (r"\\(pi|theta|omega|log|sin|cos|tan|gcd|det|angle|triangle|in|max|min)(?![a-z])", r"\1"),
     (r"\\overline\{([^{}]+)\}", r"\1"), (r"\\mathbf\{([^{}]+)\}", r"\1"),
    (r"\\text\{([^{}]+)\}", r"\1"), (r"_\{([^{}]+)\}", r"_\1"), (r"\\q?quad", " "),
)  # fmt: skip
OTHER_TEX = (
    (r"\\frac", r"\\dfrac"), (r"\\left|\\right", ""), (r"\\leq?(?![a-z])", r"\\leqslant"), (r"\\cdot", r"\\times"),
     (r"\^([0-9a-z])", r"^{\1}"), (r"\\dots", r"\\ldots"),
)  # fmt: skip
SHORT = (
    (r"miles per hour", "mph"), (r"kilometers per hour|kilometers an hour", "km/h"), (r"(\d) kilometers", r"\1 km"),
     (r"(\d) meters", r"\1 m"), (r"(\d) minutes", r"\1 min"),
    (r"(\d) hours", r"\1 h"), (r"(\d) pounds", r"\1 lb"), (r"(\d)%", r"\1 percent"), (r"(\d) percent", r"\1%"),
     (r"(\d) liters", r"\1 L"), (r"\b(\d)(\d{3})\b(?!\.\d)", r"\1,\2"),
)  # fmt: skip
DRESSES = (
    "{}",
    "{}",
    "Question: {}\nAnswer:",
    "**Problem.** {}",
    "Q: {}",
    "<p>{}</p>",
    "{}\n\nPut the final answer in \\boxed{{}}.",
    "  {}  ",
    "Exercise. {}",
    "> {}",
)


def reformatted(text: str, rng: Random) -> str:
    """The same words in another notation: plain or sympy-like formulas, other delimiters, units and money otherwise."""
    prose, formulas = masked(text)
    if formulas:
        hard = any("\\begin" in formula or "[asy]" in formula for formula in formulas)
        style = "tex" if hard else rng.choice(("unicode", "ascii", "tex"))
        formulas = [_restyled(formula, style, rng) for formula in formulas]
    else:
        prose = _money(prose, rng)
        for pattern, new in rng.sample(SHORT, len(SHORT) // 2):
            prose = re.sub(pattern, new, prose)
        if rng.random() < 0.5:
            prose = re.sub(r"(?<=[.?!]) (?=[A-Z])", rng.choice(("\n", "  ", "\n\n")), prose)
    after = unmasked(prose, formulas)
    dresses = DRESSES if after != text else DRESSES[2:]
    return rng.choice(dresses).format(after)


def _money(prose: str, rng: Random) -> str:
    style = rng.choice((r"\1 dollars", r"\\$\1", r"USD \1", r"$\1"))
    return re.sub(r"\$(\d+(?:,\d{3})*(?:\.\d+)?)", style, prose)


def _restyled(formula: str, style: str, rng: Random) -> str:
    if formula.startswith("[asy]"):
        return formula
    inner = re.sub(r"^(\$\$|\$|\\\[|\\\()|(\$\$|\$|\\\]|\\\))$", "", formula)
    if style == "tex":
        for pattern, new in OTHER_TEX:
            inner = re.sub(pattern, new, inner)
        shown = formula.startswith(("$$", "\\["))
        if inner.startswith("\\begin"):
            return inner
        return (
            f" $${inner.strip()}$$ "
            if shown
            else f"\\({inner.strip()}\\)"
            if formula.startswith("$")
            else f"${inner.strip()}$"
        )
    for _ in range(2):  # a fraction within a fraction, a root within a root
        for pattern, new in UNICODE if style == "unicode" else ASCII:
            inner = re.sub(pattern, new, inner)
    return f" {inner.strip()} " if formula.startswith(("$$", "\\[")) else inner.strip()


NUMBER = re.compile(
    r"\[asy\].*?\[/asy\]|(?<![\w.,^_:])(?<!\^\{)(?<!_\{)(\d[\d,]*\d|\d)(\.\d+)?(?!\d|:|st\b|nd\b|rd\b|th\b|-(?:dim|sid)|D\b)",
    re.S,
)


def other_numbers(text: str, rng: Random) -> str:
    """The same words with other numbers: another problem, neat answer or not. Exponents, indices, 0 and 1 stay."""
    values = [found.group(1).replace(",", "") for found in NUMBER.finditer(text) if found.group(1)]
    words = re.findall(rf"(?<![\w-])({'|'.join(NUMBER_WORDS)})(?![\w-])", text)
    said = [
        value
        for value in dict.fromkeys([*values, *(NUMBER_WORDS[word] for word in words)])
        if int(value) > 1 and len(value) < 12
    ]
    if not said:
        return text
    chosen = [value for value in said if rng.random() < 0.8] or said[:1]
    new = {}
    for value in chosen:
        new[value] = _other_value(value, {*said, *new.values()}, rng)

    def swap(found: re.Match[str]) -> str:
        whole = found.group(1)
        value = new.get((whole or "").replace(",", ""))
        if value is None:
            return found.group()
        return (f"{int(value):,}" if "," in whole else value) + (found.group(2) or "")

    def swap_word(found: re.Match[str]) -> str:
        value = new.get(NUMBER_WORDS[found.group()])
        return found.group() if value is None else DIGIT_WORDS.get(value, value)

    text = NUMBER.sub(swap, text)
    return re.sub(rf"(?<![\w-])({'|'.join(NUMBER_WORDS)})(?![\w-])", swap_word, text)


def _other_value(value: str, taken: set[str], rng: Random) -> str:
    """A number of as many digits and as many zeros at its end, not among those taken."""
    stem = value.rstrip("0")
    zeros = len(value) - len(stem)
    low, high = max(2, 10 ** (len(stem) - 1)), 10 ** len(stem) - 1
    free = [str(low + step) for step in rng.sample(range(high - low + 1), min(high - low + 1, 30))]
    fit = [one + "0" * zeros for one in free if one[-1] != "0" and one + "0" * zeros not in taken]
    return fit[0] if fit else str(int(value) * 10 + rng.randint(1, 9))
