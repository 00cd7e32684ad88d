r"""A text's words as they are compared: the same for LaTeX, Unicode and plain writings of the same thing.

\frac{1}{2}, 1/2 and one half are the words 1 2; x^{2}, x^2 and x² are x 2; \$1{,}000 is 1000; 5cm is 5 cm. Products,
powers, quotients and punctuation leave no word; sums, differences and relations do.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

_LONGEST = 64
"""Characters of one word at most: a longer run is several words."""

_MOST_KNOWN = 1 << 16

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"


def _tokens(letter: str) -> re.Pattern[str]:
    # The commonest first: each token pays for the branches before its own.
    return re.compile(
        rf"""(?x)
        {letter}{{1,{_LONGEST}}}
        | \d{{1,3}}(?:(?:,|\{{,\}}|\\,)\d{{3}})+(?!\d)(?:\.\d{{1,{_LONGEST}}})?
        | \d{{1,{_LONGEST}}}(?:\.\d{{1,{_LONGEST}}})? | \.\d{{1,{_LONGEST}}}
        | '[a-z]{{1,2}}(?![a-z])                                           # Tom's, don't
        | \\(?:begin|end)[ ]?\{{\w{{1,20}}\*?\}}(?:\{{[lcr|]{{1,40}}\}})?  # an environment; a table's columns
        | \\(?:[a-z]{{1,{_LONGEST}}}|[^a-z])
        | -(?![ ]?[a-z][a-z]|-)                                            # no hyphen and no dash
        | [<>]=? | =<? | !=+ | [+%]
        """
        + (f"| [{_CJK}]" if letter != "[a-z]" else "")
    )


_IN_ASCII, _IN_UNICODE = _tokens("[a-z]"), _tokens(rf"[^\W\d_{_CJK}]")
_APART = re.compile("[\u00b2\u00b3\u00b9\u2070-\u209f]+|[\u00bc-\u00be\u2150-\u215f\u2189]")
_SIGNS = {
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("\u2018\u2019\u02bc\u00b4", "'"),
    **dict.fromkeys("\u2012\u2013\u2014\u2015", " "),
    **dict.fromkeys("\u00b0\u00ba\u2103\u2109", " degrees "),
    **dict.fromkeys("\u2010\u2011\u2212", "-"),
    "\u00b1": " + - ",
    "\u221a": " sqrt ",
    "\u221b": " sqrt 3 ",
    "\u221e": " infinity ",
    "\u2264": "<=",
    "\u2a7d": "<=",
    "\u2266": "<=",
    "\u2265": ">=",
    "\u2a7e": ">=",
    "\u2267": ">=",
    "\u2260": "!=",
    "\u2220": " angle ",
    "\u25b3": " triangle ",
    "\u2206": " delta ",
    "\u2211": " sum ",
    "\u220f": " prod ",
    "\u2208": " in ",
    "\u222a": " cup ",
    "\u2229": " cap ",
    "\u222b": " int ",
    "\u2192": " to ",
    "\u2286": " subseteq ",
    "\u2282": " subset ",
    "\u22a5": " perp ",
    "\u2225": " parallel ",
    "\u2227": " and ",
    "\u2228": " or ",
    "\u00ac": " not ",
    "\u2194": " iff ",
}
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho - sigma tau upsilon"
_SAME_SIGN = str.maketrans(
    _SIGNS
    | {chr(0x3B1 + n): f" {name} " for n, name in enumerate([*_GREEK.split(), "phi", "chi", "psi", "omega"])}
    | {"\u03c2": " sigma ", "\u03d5": " phi ", "\u03f5": " epsilon ", "\u03d1": " theta "}
)

_NO_WORD = r"""
    left right middle big bigl bigr bigg biggl biggr text textbf textit textrm textsc textnormal emph mbox hbox mathrm
    mathbf mathit mathsf mathtt mathbb mathcal mathfrak mathscr boldsymbol bm bf rm it operatorname displaystyle
    textstyle scriptstyle limits nolimits frac dfrac tfrac cfrac over div cdot times ast cdots ldots dots dotsb dotsc
    vdots ddots quad qquad hspace vspace phantom hline boxed overline underline bar hat vec tilde widehat overrightarrow
    dollar lbrace rbrace langle rangle lvert rvert vert mid colon item par newline noindent label tag nonumber
    longrightarrow implies
"""
_SAME = {
    **{rf"\{name}": "" for name in _NO_WORD.split()},
    **dict.fromkeys([r"\le", r"\leq", r"\leqslant", "=<"], "<="),
    **dict.fromkeys([r"\ge", r"\geq", r"\geqslant"], ">="),
    **dict.fromkeys([r"\ne", r"\neq", "!=="], "!="),
    r"\lt": "<",
    r"\gt": ">",
    "plus": "+",
    "minus": "-",
    "equals": "=",
    r"\%": "%",
    "percent": "%",
    r"\pm": "+ -",
    **dict.fromkeys([r"\circ", r"\degree", r"\degrees", r"\deg", "degree"], "degrees"),
    r"\infty": "infinity",
    r"\rightarrow": "to",
    r"\varphi": "phi",
    r"\varepsilon": "epsilon",
    r"\land": "and",
    r"\lor": "or",
    r"\lnot": "not",
    r"\neg": "not",
}

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_COUNTED = {word: n for n, word in enumerate(_SMALL.split())} | {
    word: 10 * n for n, word in enumerate(_TENS.split(), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_PARTS = {"half": "2", "halves": "2", "third": "3", "fourth": "4", "quarter": "4", "fifth": "5", "sixth": "6"}
_PARTS |= {"seventh": "7", "eighth": "8", "ninth": "9", "tenth": "10"}
_PARTS |= {f"{word}s": n for word, n in _PARTS.items() if n != "2"}
_SAYS = {"twice": ["2", "times"], "thrice": ["3", "times"], "dozen": ["12"], "half": ["1", "2"]}
_SAID = frozenset(_COUNTED) | frozenset(_SCALES) | frozenset(_SAYS)


def words(text: str) -> list[str]:
    """The canonical words of a text: case folded, LaTeX taken apart, number words as digits."""
    if text.isascii():
        tokens = _IN_ASCII.findall(text.lower())
    else:
        apart = _APART.sub(r" \g<0> ", text).translate(_SAME_SIGN)
        folded = unicodedata.normalize("NFKC", apart).casefold().translate(_SAME_SIGN)
        tokens = (_IN_ASCII if folded.isascii() else _IN_UNICODE).findall(folded)
    found = [*filter(None, map(_KNOWN.__getitem__, tokens))]
    return found if _SAID.isdisjoint(found) else _in_digits(found)


def numbers(words: Iterable[str]) -> tuple[str, ...]:
    """The sorted multiset of the numbers among canonical words: with other numbers it is another problem."""
    return tuple(sorted([word for word in words if word[0].isdigit()]))


class _Known(dict[str, str]):
    """Tokens and their words, for as many as fit; a dict is asked in half the time that a cache of calls takes."""

    def __missing__(self, token: str) -> str:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[token] = word = _word(token)
        return word


_KNOWN = _Known()


def _word(token: str) -> str:
    """The word that a token stands for, or an empty text."""
    first = token[0]
    if first in "0123456789.":
        return _number(token)
    if (same := _SAME.get(token)) is not None:
        return same
    if first == "\\":
        name = token[1:]
        return name if name.isalpha() else ""
    if first == "'":
        return ""
    return "=" if token == "==" else token


def _number(token: str) -> str:
    digits = "".join(character for character in token if character.isdigit() or character == ".")
    whole, point, rest = digits.partition(".")
    rest = rest.rstrip("0")
    return f"{whole or '0'}.{rest}" if point and rest else whole or "0"


def _in_digits(said: Sequence[str]) -> list[str]:
    """The words with two hundred and five as 205, two thirds as 2 3, twice as 2 times."""
    found: list[str] = []
    until = 0
    for at, word in enumerate(said):
        if at < until:
            continue
        if word not in _SAID:
            found.append(word)
        elif word in _COUNTED:
            value, until = _counted(said, at)
            found.append(value)
            if until < len(said) and said[until] in _PARTS:
                found.append(_PARTS[said[until]])
                until += 1
        elif word in _SCALES:
            before = found.pop() if found and _is_short_number(found[-1]) else "1"
            found.append(_number(format(Decimal(before) * _SCALES[word], "f")))
        else:
            found += _SAYS[word]
    return found


def _counted(said: Sequence[str], at: int) -> tuple[str, int]:
    """The number that is said from a place on, and where it ends."""
    total, current, at = 0, _COUNTED[said[at]], at + 1
    while at < len(said) and total < 10**12:
        word = said[at]
        after_and = word == "and" and (current >= 100 or (total and not current)) and said[at + 1 : at + 2]
        if after_and and after_and[0] in _COUNTED:
            current, at = current + _COUNTED[after_and[0]], at + 2
        elif word == "hundred" and 0 < current < 100:
            current, at = current * 100, at + 1
        elif word in _SCALES and word != "hundred" and current:
            total, current, at = total + current * _SCALES[word], 0, at + 1
        elif word in _COUNTED and _goes_on(current, _COUNTED[word], total):
            current, at = current + _COUNTED[word], at + 1
        else:
            break
    return str(total + current), at


def _goes_on(current: int, further: int, total: int) -> bool:
    """Whether a counting word goes on with the number before it: twenty one, two hundred five, one thousand ten."""
    if further == 0:
        return False
    if current == 0:
        return total > 0
    return (current % 100 >= 20 and current % 10 == 0 and further < 10) or (current % 100 == 0)


def _is_short_number(word: str) -> bool:
    return word[0].isdigit() and len(word) < 16 and word.isascii()
