"""Brackets and separators: cut the tokens of an answer into its parts."""

from collections.abc import Sequence

from pipeline.maths.tokens import Token, Unreadable

OPEN, CLOSE = (
    frozenset({"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil"}),
    frozenset({")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil"}),
)
MOST_ITEMS = 200


def several(found: list[Token]) -> tuple[list[Token], list[list[Token]], bool]:
    """The tokens with thousands joined, the answers that commas and words part, and whether an `or` does."""
    whole = _joined_outside(found)
    parts = [part for part in cut(whole, {",", ";", "and", "or"}, empty=True) if part]
    if len(parts) > MOST_ITEMS:
        raise Unreadable(f"more than {MOST_ITEMS} answers")
    return whole, parts, any(token.text == "or" for token in outside(whole))


def items_in(inner: list[Token]) -> list[list[Token]]:
    """The items in brackets. A comma without a space after it parts thousands only where others have a space."""
    if not inner:
        return []
    commas = [at for at, token in enumerate(inner) if token.text == ","]
    glued = [at for at in commas if _thousands_at(inner, at)]
    if glued and len(glued) < len(commas):
        inner = _joined_thousands(inner)
    parts = cut(inner, {",", ";"}, empty=True)
    if not all(parts):
        raise Unreadable("an item is missing")
    if len(parts) > MOST_ITEMS:
        raise Unreadable(f"more than {MOST_ITEMS} items")
    return parts


def _thousands_at(found: Sequence[Token], at: int) -> bool:
    after = found[at + 1] if at + 1 < len(found) else None
    before = found[at - 1] if at else None
    return (
        after is not None
        and before is not None
        and found[at].glued
        and after.glued
        and before.kind == "num"
        and after.kind == "num"
        and len(after.text.partition(".")[0]) == 3
        and len(before.text) <= 3
        and before.text.isdigit()
        and before.text[0] != "0"
    )


def _joined_thousands(found: Sequence[Token]) -> list[Token]:
    """1,234,567 as one number."""
    out: list[Token] = []
    at = 0
    while at < len(found):
        token = found[at]
        joined = token.text
        first = at
        while (
            at + 2 < len(found)
            and found[at + 1].text == ","
            and (_thousands_at(found, at + 1) or (at > first and _goes_on(found, at + 1)))
        ):
            joined += found[at + 2].text
            at += 2
        out.append(token if at == first else Token("num", joined, token.glued))
        at += 1
    return out


def _joined_outside(found: Sequence[Token]) -> list[Token]:
    """Thousands joined, but for what is in brackets: (1,234) is a point."""
    out: list[Token] = []
    run: list[Token] = []
    depth = 0
    for token in found:
        step = _step(token)
        if depth == 0 and step == 0:
            run.append(token)
            continue
        out += _joined_thousands(run)
        run = []
        depth += step
        out.append(token)
    return out + _joined_thousands(run)


def _goes_on(found: Sequence[Token], at: int) -> bool:
    after = found[at + 1]
    return found[at].glued and after.glued and after.kind == "num" and len(after.text.partition(".")[0]) == 3


def cut(found: Sequence[Token], signs: frozenset[str] | set[str], *, empty: bool = False) -> list[list[Token]]:
    """Cut at these signs outside of all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        depth += _step(token)
        if depth == 0 and token.text in signs:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth != 0:
        raise Unreadable("brackets that do not match")
    return parts if empty or len(parts) == 1 else [part for part in parts if part]


def outside(found: Sequence[Token]) -> list[Token]:
    depth, out = 0, []
    for token in found:
        depth += _step(token)
        if depth == 0:
            out.append(token)
    return out


def _step(token: Token) -> int:
    if token.kind == "begin" or (token.text in OPEN and token.kind in ("sym", "cmd")):
        return 1
    return -1 if token.kind == "end" or (token.text in CLOSE and token.kind in ("sym", "cmd")) else 0


def closes(found: Sequence[Token], at: int) -> int:
    depth = 0
    for place in range(at, len(found)):
        depth += _step(found[place])
        if depth == 0:
            return place
    raise Unreadable("brackets that do not match")
