r"""Cut a written answer (LaTeX or plain text) into tokens, without the spacing and sizing that no answer depends on."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from pipeline.maths.vocabulary import FUNCTIONS

LONGEST = 4000
"""Characters; a longer answer is not read."""

_SCRIPTS = {"⁰": "0", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9"}
_UNICODE = {
    "−": "-",
    "–": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": r"\div ",
    "π": r"\pi ",
    "θ": r"\theta ",
    "∞": r"\infty ",
    "°": r"^\circ ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∅": r"\emptyset ",
    "±": r"\pm ",
    "∈": r"\in ",
    "ℝ": r"\mathbb{R}",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
}
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z])?")
_OVER = re.compile(r"\{([^{}]{1,200})\\(over|choose)\b([^{}]{1,200})\}")
_LINE_SKIP = re.compile(r"(?<=\\\\)\s*\[[^\]]{0,12}\]")
_COLOUR = re.compile(r"\\(?:text)?color\s*\{[^{}]{0,40}\}")
_HAT = re.compile(r"\\(?:hat|vec|widehat|overrightarrow)\s*(?:\{\s*(\\?[A-Za-z]{1,12})\s*\}|([A-Za-z])\b)")
_VECTOR = re.compile(r"\\(?:mathbf|vec|hat|overrightarrow)\b")
# The half of the day behind a time, however it is set: 3:45 p.m.
_CLOCK = re.compile(
    r"(?i)(:\d\d)\s*(?:\\[,;: ]|~)?\s*"
    r"(?:\\(?:text|mathrm)\s*\{\s*([ap])\.?\s?m\b\.?\s*\}|([ap])\.?\s?m\b\.?)(?=[\s.$}]*$)"
)
# One upright letter that ends an answer is a unit: 4500\,\mathrm{J}; e, i and d are upright in mathematics too.
_UPRIGHT = re.compile(r"(?<=[\d} ,;~])\\mathrm\s*\{\s*~?([A-Zacf-hj-z])\s*\}(?=[\s.$]*$)")
_SUPERSCRIPT = re.compile(f"[{''.join(_SCRIPTS)}⁻]+")
_SIZES_AND_SPACES = r"""
\left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \displaystyle \textstyle \limits \quad
\qquad \, \! \; \: \> \( \) \[ \] \mathstrut \hfill \boldsymbol \bf \rm \it
"""
_IGNORED = frozenset(_SIZES_AND_SPACES.split()) | {"\\ "}
_CURRENCIES = {r"\$": "$", r"\euro": "€", r"\pounds": "£", r"\yen": "¥"}
_SAME = {
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\leq": r"\le",
    r"\leqslant": r"\le",
    r"\geq": r"\ge",
    r"\geqslant": r"\ge",
    r"\neq": r"\ne",
    r"\lt": "<",
    r"\gt": ">",
    r"\ast": "*",
    r"\cdot": "*",
    r"\times": "*",
    r"\div": "/",
    r"\varnothing": r"\emptyset",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\vert": "|",
    r"\mid": "|",
    r"\degree": r"\circ",
    r"\land": "and",
    r"\lor": "or",
    r"\vee": "or",
    r"\wedge": "and",
    r"\lnot": r"\neg",
    r"\colon": ":",
    r"\arccosine": r"\arccos",
    r"\overbar": r"\overline",
    r"\bar": r"\overline",
    r"\sim": r"\approx",
    r"\simeq": r"\approx",
    r"\dotsc": r"\dots",
    r"\ldots": r"\dots",
    r"\cdots": r"\dots",
    "**": "^",
    "<=": r"\le",
    ">=": r"\ge",
    "!=": r"\ne",
    "...": r"\dots",
}
_GROUPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|texttt|mbox|mathrm|mathbf|mathit|mathsf|operatorname)\s*\*?\s*\{"
)
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([a-zA-Z]+)\*?\}(?:\{[lcr|]*\})?")
_TOKEN = re.compile(
    r"(?P<num>(?:\d+\.\d+|\d+|\.\d+)[eE][-+]?\d{1,5}(?![\w.])|\d+\.\d+|\d*\.(?=\\(?:overline|bar|dot)\b)|\d+|\.\d+)|(?P<cmd>\\[A-Za-z]+|\\.)|(?P<word>[A-Za-z]+)|(?P<sym>\*\*|<=|>=|!=|\.\.\.|\S)"
)
_BRACKETED_REPEAT = re.compile(r"(?<![\d.])(\d+\.\d{0,20})\((\d{1,20})\)(?!\w)")
# Separators of thousands that are nothing else: 11,\! 111, 10{,}080, 10\,080.
_THIN = re.compile(r"(?<=\d)(?:\{,\}|,?\\[!,;:]\s*(?:\\!)?|,\s*\\!\s*)(?=\d{3}(?!\d))")
_SPACED = re.compile(r"(?<![\d.,^_{/])[1-9]\d{0,2}(?: \d{3})+(?![\d/.,])")


class Unreadable(ValueError):
    """What is written is not understood; the message says what of it."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is num, cmd, word, text, sym, begin or end; `glued` whether it follows the one before without a space."""

    kind: Literal["num", "cmd", "word", "text", "sym", "begin", "end"]
    text: str
    glued: bool = False


def plain_characters(text: str) -> str:
    """The text in ASCII LaTeX where Unicode has signs of its own for the same, without what can't be seen."""
    text = _SUPERSCRIPT.sub(lambda run: "^{" + "".join(_SCRIPTS.get(c, "-") for c in run.group()) + "}", text)
    text = _ROOT.sub(lambda root: rf"\sqrt{{{root[1]}}}" if root[1] else r"\sqrt ", text)
    text = "".join(_UNICODE.get(character, character) for character in text)
    text = unicodedata.normalize("NFKC", text)
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs") and (c.isprintable() or c.isspace()))


def tokens(text: str) -> list[Token]:
    """The tokens of an answer. Raises Unreadable when it is too long or a group never closes."""
    if len(text) > LONGEST:
        raise Unreadable(f"longer than {LONGEST} characters")
    if r"\times" in text and _VECTOR.search(text):
        raise Unreadable("a product of vectors")
    text = _SPACED.sub(lambda run: run.group().replace(" ", ""), _THIN.sub("", plain_characters(text)))
    text = _BRACKETED_REPEAT.sub(r"\1\\overline{\2}", text)
    text = _CLOCK.sub(r"\1 \\text{\2\3m}", text.replace("{:}", ":"))
    text = _UPRIGHT.sub(r"\\text{\1}", _HAT.sub(r"\1\2", text))
    text = _COLOUR.sub("", _LINE_SKIP.sub("", text))
    if "{" not in text and text.count(r"\over") == 1:
        text = "{" + text + "}"
    text = _OVER.sub(lambda over: rf"\{'frac' if over[2] == 'over' else 'binom'}{{{over[1]}}}{{{over[3]}}}", text)
    out: list[Token] = []
    at, glued = 0, False
    while at < len(text):
        if text[at].isspace() or text[at] in "$~":
            at, glued = at + 1, False
            continue
        token, end = _token(text, at, glued=glued)
        if token is not None:
            out.append(token)
        # Sizing such as \left stands between nothing.
        glued = token is not None
        at = end
    return out


def _token(text: str, at: int, *, glued: bool) -> tuple[Token | None, int]:
    if group := _GROUPED.match(text, at):
        end = closing(text, group.end())
        words = group.group().startswith((r"\text", r"\mbox"))
        return _grouped(text[group.end() : end], words=words, glued=glued), end + 1
    if environment := _ENVIRONMENT.match(text, at):
        return Token("begin" if environment[1] == "begin" else "end", environment[2]), environment.end()
    if text.startswith(r"\boxed", at) or text.startswith(r"\fbox", at):
        return None, at + (6 if text.startswith(r"\boxed", at) else 5)
    match = _TOKEN.match(text, at)
    assert match is not None, text[at]
    kind, written = str(match.lastgroup), match.group()
    if written in _IGNORED:
        return None, match.end()
    if written == r"\%":
        return Token("sym", "%", glued), match.end()
    if written in _CURRENCIES:
        return Token("sym", _CURRENCIES[written], glued), match.end()
    same = _SAME.get(written, written)
    if same in ("and", "or"):
        return Token("text", same), match.end()
    if same != written and not same.startswith("\\"):
        kind = "sym"
    return Token(kind, same, glued), match.end()  # type: ignore[arg-type]


def closing(text: str, start: int) -> int:
    """Where the group that opened before `start` closes. Raises Unreadable when it never does."""
    depth = 1
    for end in range(start, len(text)):
        if text[end] in "{}" and text[end - 1] != "\\":
            depth += 1 if text[end] == "{" else -1
            if depth == 0:
                return end
    raise Unreadable("a brace that never closes")


def _grouped(inside: str, *, words: bool, glued: bool) -> Token | None:
    r"""The token of \text{...}: words, a number that was put there, or a letter that was."""
    while (nested := _GROUPED.match(inside.strip())) and inside.strip().endswith("}"):
        inside = inside.strip()[nested.end() : -1]
    bare = inside.replace("~", " ").strip()
    bare = (
        (bare[1:-1] if bare.startswith("{") and bare.endswith("}") else bare)
        .replace(r"\$", "$")
        .replace(r"\%", "%")
        .strip()
    )
    if not bare:
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", bare):
        return Token("num", bare, glued)
    if bare in ("%", "$", "-", "+"):
        return Token("sym", bare, glued)
    variable = bare.isascii() and bare.isalpha() and (len(bare) == 1 or bare in FUNCTIONS)
    return Token("word" if variable and not words else "text", bare, glued)
