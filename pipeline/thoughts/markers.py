"""Where a thought reflects, checks, tries another way or corrects itself: what a worked solution of a book never does.

These are the marks of the long thoughts that the paper calls retrospective (arXiv 2411.16489, 2410.18982) and that s1
(2501.19393), LIMO (2502.03387) and OpenThoughts (2506.04178) are made of. They count where the writer speaks: "wait"
as a word of the story ("they wait for 5 minutes") is none.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of marker is written, in lower case: phrases as they stand, and patterns that begin with a literal
    text, so that a search passes over a long thought fast. No two of them overlap."""

    phrases: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


# Behind "wait": where a sentence or a clause begins, or one of the words that lead to it.
_OPENS = (
    r"(?:(?<=^wait)|(?<=[\n(*\"\u2014\u2026]wait)|(?<=[.!?:;,)$-] wait)"
    r"|(?<=\b(?:but|and) wait)|(?<=\b(?:oh|no|so) wait))"
)
_LETS = r"let(?:'s| me| us) (?:(?:now|just|also|quickly|first|carefully|again|at least) )?"

KINDS = {
    "reflect": Kind(
        (
            *("hold on", "second thought", "let me think", "let me pause", "i wonder", "am i sure", "am i missing"),
            *("i'm not sure", "i am not sure", "make sense?", "makes sense?", "right?", "correct?", "is that true?"),
            *("等等", "等一下", "让我想", "让我再想", "仔细想", "再想想", "对吗", "对不对", "是不是"),
        ),
        (
            re.compile(rf"wait{_OPENS}\b(?! (?:for|till|until|times?|in|at|on|to|\d))"),
            re.compile(r"hmm+\b"),
            re.compile(r"嗯+"),
        ),
    ),
    "check": Kind(
        (
            *("double-check", "double check", "sanity check", "sanity-check", "quick check", "cross-check", "re-check"),
            *(
                "to be sure",
                "to be safe",
                "make sure",
                "let me see",
                "let me plug",
                "i should check",
                "i should verify",
            ),
            *("i'll check", "i'll verify", "i need to check", "i need to verify", "we should check", "checking:"),
            *("检查", "验证", "验算", "核对", "核实", "确认一下", "代回", "再算一遍"),
        ),
        (
            re.compile(
                rf"{_LETS}(?:check|verify|confirm|test|recheck|recount|recompute|recalculate|reread|re-(?!check))"
            ),
        ),
    ),
    "alternative": Kind(
        (
            *("alternatively,", "another way", "another approach", "another method", "another idea", "other way to"),
            *(
                "a different approach",
                "a different method",
                "a different way to",
                "different angle",
                "what if ",
                "or maybe",
            ),
            *("let me try", "let's try", "maybe i ", "maybe we ", "maybe there", "perhaps i ", "perhaps there"),
            *(
                "另一种",
                "换个",
                "换一种",
                "换一个",
                "换种",
                "也许可以",
                "试试",
                "或者我",
                "或者用",
                "或者可以",
                "或者，",
                "或者,",
            ),
        ),
        (),
    ),
    "correct": Kind(
        (
            *("scratch that", "my bad", "my mistake", "my error", "a mistake", "an error", "i was wrong"),
            *(
                "let me go back",
                "let's go back",
                "go back and",
                "i forgot",
                "i misread",
                "i miscalculated",
                "i miscounted",
                "i misunderstood",
            ),
            *(
                "not right",
                "n't right",
                "not correct.",
                "n't correct",
                "is wrong",
                "was wrong",
                "'s wrong",
                "not quite",
            ),
            *("can't be.", "cannot be right", "can't be right", "doesn't match", "does not match", "contradicts what"),
            *("不对", "不是这样", "搞错", "算错", "弄错", "写错", "看错", "重新", "回过头", "其实，", "其实,"),
        ),
        (
            re.compile(r"actually,"),
            re.compile(r"oops\b(?<![a-z]oops)"),
            re.compile(r"going back to (?:my|our|the (?:problem|equation|original|first|previous|question|start,))"),
            re.compile(r"no,(?<=[\s(]no,)"),
            re.compile(r"let(?:'s| me) (?:redo|restart|start over|reconsider|rethink|revisit|correct|fix)"),
        ),
    ),
}


def markers(text: str) -> dict[str, int]:
    """How many marks of each kind a text has; `text` in lower case."""
    return {name: _count(text, kind) for name, kind in KINDS.items()}


def too_few(counts: dict[str, int], *, tokens: int, least: int, least_per_1000: float) -> str | None:
    """Why a text is no thought, or None; `tokens` of the student."""
    total = sum(counts.values())
    shown = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count) or "none"
    if total < least:
        return f"{total} markers of thinking, at least {least} wanted ({shown})"
    if total * 1000 < least_per_1000 * tokens:
        return f"{total * 1000 / tokens:.1f} markers in 1,000 tokens, at least {least_per_1000:g} wanted ({shown})"
    return None


def _count(text: str, kind: Kind) -> int:
    said = sum(map(text.count, kind.phrases))
    return said + sum(len(pattern.findall(text)) for pattern in kind.patterns)
