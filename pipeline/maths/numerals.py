"""Written numbers: decimals, repeating ones, mixed ones, numbers in a base."""

from fractions import Fraction

from pipeline.maths.cursor import Cursor
from pipeline.maths.tokens import Token, Unreadable
from pipeline.maths.tree import Expr, Num, Op
from pipeline.maths.vocabulary import NUMBER_WORDS


class Numerals(Cursor):
    """Reads numbers from tokens."""

    def number(self, token: Token) -> Expr:
        """The number that begins with this token: its repeating digits, its base, the fraction behind it."""
        whole, _, after = token.text.partition(".")
        repeats = self.peek() in (r"\overline", r"\dot") or (self.peek() == r"\dots" and after)
        if repeats and (repeating := self._repeating(whole, after)) is not None:
            return repeating
        value = Fraction(token.text.rstrip("."))
        number = Num(value, len(after) if after and after.isdigit() else None if value.denominator == 1 else 0)
        return self._mixed(self.based(number))

    def _repeating(self, whole: str, after: str) -> Expr | None:
        r"""0.1\overline{6}, 0.1\dot{6}, 0.1666...: the exact fraction."""
        start = self.at
        mark = self.tokens[self.at].text
        self.at += 1
        if mark == r"\dots":
            digits = after[-1]
            if len(after) < 3 or set(after[-3:]) != {digits}:
                raise Unreadable("dots after digits that do not repeat")
            return _repeated(whole, after, digits)
        group = self.take("{")
        inside = self.token()
        if inside is None or inside.kind != "num" or "." in inside.text or not (group or mark == r"\dot"):
            self.at = start
            return None
        self.at += 1
        if group:
            self.expect("}")
        return _repeated(whole, after, inside.text)

    def _mixed(self, whole: Expr) -> Expr:
        r"""3\frac{1}{2} and 3 1/2 are three and a half."""
        if not isinstance(whole, Num) or whole.decimals is not None:
            return whole
        start = self.at
        part = self._proper_fraction()
        if part is None:
            self.at = start
            return whole
        return Num(whole.value + part)

    def _proper_fraction(self) -> Fraction | None:
        token = self.token()
        if token is not None and token.text == r"\frac":
            self.at += 1
            top, bottom = self._digits(), self._digits()
        elif token is not None and token.kind == "num" and not token.glued and token.text.isdigit():
            self.at += 1
            top = int(token.text)
            if self.take("/") is None:
                return None
            bottom = self._digits()
        else:
            return None
        return Fraction(top, bottom) if top is not None and bottom is not None and 0 < top < bottom else None

    def _digits(self) -> int | None:
        group = self.take("{")
        token = self.token()
        if token is None or token.kind != "num" or not token.text.isdigit():
            return None
        if not group and len(token.text) > 1 and self.tokens[self.at - 1].text != "/":
            # \frac12 is one half: each argument without braces is one digit.
            return self.split_digit(token)
        self.at += 1
        if group and self.take("}") is None:
            return None
        return int(token.text)

    def split_digit(self, token: Token) -> int:
        """The first digit of the number at hand, which leaves the others there."""
        self.tokens[self.at] = Token("num", token.text[1:], glued=True)
        return int(token.text[0])

    def based(self, tree: Expr) -> Expr:
        """A number with a base as its index: 101_2."""
        if self.peek() != "_" or not isinstance(tree, Num):
            return tree
        self.at += 1
        group, bracket = self.take("{"), self.take("(")
        token = self.token()
        base = str(NUMBER_WORDS.get(token.text.lower(), token.text)) if token is not None else ""
        self.at += 1
        if not base.isdigit() or (bracket and self.take(")") is None) or (group and self.take("}") is None):
            raise Unreadable("an index against a number that is no base")
        if tree.value.denominator != 1 or tree.value < 0:
            raise Unreadable("a base against something else than digits")
        return in_base(str(tree.value.numerator), base)


def in_base(digits: str, base: str) -> Op:
    """The value of digits in a base, which stays with it. Raises Unreadable for a digit that the base lacks."""
    if not 2 <= int(base) <= 36:
        raise Unreadable(f"base {base}")
    try:
        return Op("base", (Num(Fraction(int(digits, int(base)))), Num(Fraction(base))))
    except ValueError as error:
        raise Unreadable(f"{digits} has digits that base {base} lacks") from error


def _repeated(whole: str, after: str, digits: str) -> Num:
    """whole.after followed by digits for ever; with dots the digits are the last of `after` already, which adds nothing
    but what they would add."""
    if len(digits) > 50 or len(after) > 50:
        raise Unreadable("too many digits that repeat")
    shift = 10 ** len(after)
    head = Fraction(int((whole or "0") + after), shift)
    return Num(head + Fraction(int(digits), (10 ** len(digits) - 1) * shift))
