r"""Read one value of a written answer into a tree: numbers as exact fractions, nothing evaluated, nothing run.

What is not understood is refused (Unreadable): a reading that skips a part of an answer would call different answers
equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.tokens import Token, Unreadable

DEEPEST = 40
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh ln log lg exp det gcd lcm max min Re Im"
    " sgn floor ceil abs sqrt".split()
)
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "ceiling": "ceil"}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon"
    " phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell".split()
)
_CONSTANTS = {"pi": "pi", "infty": "oo", "infinity": "oo", "oo": "oo", "inf": "oo"}
_OPENERS = {"(": (")",), "[": ("]",), "{": ("}",), r"\lfloor": (r"\rfloor",), r"\lceil": (r"\rceil",)}
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"} | {
    "ten": "10",
    "twelve": "12",
    "sixteen": "16",
}


@dataclass(frozen=True, slots=True)
class Num:
    """A written number; `decimals` counts its digits after the point, None for an integer."""

    value: Fraction
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, or one of the constants pi, e, i, oo."""

    name: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: add, mul, div, pow, neg, pm, fact, degree, percent, base or a function by its name."""

    name: str
    args: tuple["Num | Sym | Op", ...]


Expr = Num | Sym | Op


def parse(tokens: Sequence[Token]) -> Expr:
    """The tree of one value. Raises Unreadable when any token is left over or not understood."""
    parser = _Parser(list(tokens))
    tree = parser.sum(0)
    if parser.at < len(parser.tokens):
        raise Unreadable(f"{parser.tokens[parser.at].text!r} is not expected there")
    return tree


def symbols(tree: Expr) -> set[str]:
    """The names of all variables and constants in a tree."""
    if isinstance(tree, Sym):
        return {tree.name}
    return set().union(*(symbols(arg) for arg in tree.args)) if isinstance(tree, Op) else set()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        # In a sum or a product a word can only be the name of a quantity.
        self.names = any(token.text in ("+", "-", "*", "/", "^") for token in tokens)

    def sum(self, depth: int) -> Expr:
        if depth > DEEPEST:
            raise Unreadable("nested too deeply")
        left = self._product(depth)
        while (sign := self._take("+", "-", r"\pm", r"\mp")) is not None:
            right = self._product(depth)
            if sign == "-":
                right = Op("neg", (right,))
            left = Op("pm" if sign in (r"\pm", r"\mp") else "add", (left, right))
        return left

    def _product(self, depth: int) -> Expr:
        left = self._signed(depth)
        while True:
            if (sign := self._take("*", "/")) is not None:
                right = self._signed(depth)
                left = Op("mul" if sign == "*" else "div", (left, right))
            elif self._begins_factor():
                left = Op("mul", (left, self._power(depth)))
            else:
                return left

    def _signed(self, depth: int) -> Expr:
        negative = False
        while (sign := self._take("+", "-")) is not None:
            negative ^= sign == "-"
        tree = self._pm(depth) if self._peek() in (r"\pm", r"\mp") else self._power(depth)
        return Op("neg", (tree,)) if negative else tree

    def _pm(self, depth: int) -> Expr:
        self.at += 1
        return Op("pm", (Num(Fraction(0)), self._product(depth)))

    def _begins_factor(self) -> bool:
        token = self._token()
        if token is None or token.kind in ("begin", "end", "text"):
            return False
        if token.kind == "num":
            # "2 3" is no product that anyone writes.
            before = self.tokens[self.at - 1]
            return before.kind in ("word", "cmd") or before.text in (")", "]", "}")
        return token.kind == "word" or token.text in _OPENERS or (token.kind == "cmd" and self._is_operand(token.text))

    def _is_operand(self, text: str) -> bool:
        name = text[1:]
        known = _FUNCTIONS | _GREEK | _CONSTANTS.keys() | {"frac", "sqrt", "binom", "overline"}
        return name in known or text in (r"\lfloor", r"\lceil")

    def _power(self, depth: int) -> Expr:
        base = self._postfix(depth)
        if self._take("^") is None:
            return base
        if self._peek() == r"\circ":
            self.at += 1
            return self._marked(Op("degree", (base,)))
        exponent = self._exponent(depth)
        if exponent == Op("degree", ()):
            return self._marked(Op("degree", (base,)))
        return self._marked(Op("pow", (base, exponent)))

    def _marked(self, tree: Expr) -> Expr:
        while (sign := self._take("!", "%", r"\circ")) is not None:
            tree = Op({"!": "fact", "%": "percent"}.get(sign, "degree"), (tree,))
        return tree

    def _exponent(self, depth: int) -> Expr:
        if self._peek() == "{":
            self.at += 1
            if self._peek() == r"\circ":
                self.at += 1
                self._expect("}")
                return Op("degree", ())
            tree = self.sum(depth + 1)
            self._expect("}")
            return tree
        negative = self._take("-") is not None
        tree = self._power(depth + 1) if negative or self._peek() in ("(",) else self._right_power(depth)
        return Op("neg", (tree,)) if negative else tree

    def _right_power(self, depth: int) -> Expr:
        """a^b^c, as plain text has it, is a^(b^c)."""
        tree = self._primary(depth + 1)
        if self._take("^") is not None:
            return Op("pow", (tree, self._exponent(depth + 1)))
        return tree

    def _postfix(self, depth: int) -> Expr:
        return self._marked(self._primary(depth))

    def _primary(self, depth: int) -> Expr:
        token = self._token()
        if token is None:
            raise Unreadable("something is missing at its end")
        if depth > DEEPEST:
            raise Unreadable("nested too deeply")
        self.at += 1
        if token.kind == "num":
            return self._number(token, depth)
        if token.kind == "word":
            return self._word(token, depth)
        if token.text in _OPENERS:
            return self._bracket(token.text, depth)
        if token.text == "|":
            tree = self.sum(depth + 1)
            self._expect("|")
            return Op("abs", (tree,))
        if token.kind == "cmd":
            return self._command(token.text[1:], depth)
        raise Unreadable(f"{token.text!r} is not understood")

    def _bracket(self, opener: str, depth: int) -> Expr:
        tree = self.sum(depth + 1)
        self._expect(*_OPENERS[opener])
        name = {r"\lfloor": "floor", r"\lceil": "ceil"}.get(opener)
        return Op(name, (tree,)) if name else self._based(tree)

    def _number(self, token: Token, depth: int) -> Expr:
        whole, _, after = token.text.partition(".")
        if self._peek() in (r"\overline", r"\dot") or (self._peek() == r"\dots" and after):
            if (repeating := self._repeating(whole, after)) is not None:
                return repeating
        value = Fraction(token.text.rstrip("."))
        number = Num(value, len(after) if after and after.isdigit() else None if value.denominator == 1 else 0)
        return self._mixed(self._based(number))

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
        group = self._take("{")
        inside = self._token()
        if inside is None or inside.kind != "num" or "." in inside.text or not (group or mark == r"\dot"):
            self.at = start
            return None
        self.at += 1
        if group:
            self._expect("}")
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
        token = self._token()
        if token is not None and token.text == r"\frac":
            self.at += 1
            top, bottom = self._digits(), self._digits()
        elif token is not None and token.kind == "num" and not token.glued and token.text.isdigit():
            self.at += 1
            top = int(token.text)
            if self._take("/") is None:
                return None
            bottom = self._digits()
        else:
            return None
        return Fraction(top, bottom) if top is not None and bottom is not None and 0 < top < bottom else None

    def _digits(self) -> int | None:
        group = self._take("{")
        token = self._token()
        if token is None or token.kind != "num" or not token.text.isdigit():
            return None
        if not group and len(token.text) > 1 and self.tokens[self.at - 1].text != "/":
            # \frac12 is one half: each argument without braces is one digit.
            return self._split_digit(token)
        self.at += 1
        if group and self._take("}") is None:
            return None
        return int(token.text)

    def _split_digit(self, token: Token) -> int:
        self.tokens[self.at] = Token("num", token.text[1:], glued=True)
        return int(token.text[0])

    def _based(self, tree: Expr) -> Expr:
        """A number with a base as its index: 101_2."""
        if self._peek() != "_" or not isinstance(tree, Num):
            return tree
        self.at += 1
        group, bracket = self._take("{"), self._take("(")
        token = self._token()
        base = _BASES.get(token.text.lower(), token.text) if token is not None else ""
        self.at += 1
        if not base.isdigit() or (bracket and self._take(")") is None) or (group and self._take("}") is None):
            raise Unreadable("an index against a number that is no base")
        if tree.value.denominator != 1 or tree.value < 0 or not 2 <= int(base) <= 36:
            raise Unreadable("a base against something else than digits")
        return Op("base", (tree, Num(Fraction(base))))

    def _word(self, token: Token, depth: int) -> Expr:
        name = _ALIASES.get(token.text, token.text)
        if name in _FUNCTIONS:
            return self._function(name, depth)
        if name in _CONSTANTS or name in _GREEK:
            return self._indexed(_CONSTANTS.get(name, name))
        if len(name) == 1:
            return self._indexed(name)
        if len(name) > 3:
            if not self.names:
                raise Unreadable(f"{name!r} is a word")
            return self._indexed(name)
        # abc is the product of a, b and c; the last one may have an index.
        self.tokens[self.at : self.at] = [Token("word", letter, glued=True) for letter in name[1:]]
        return self._indexed(name[0])

    def _indexed(self, name: str) -> Expr:
        """A variable with its index or its primes, which make it another variable."""
        while self._peek() == "'":
            self.at += 1
            name += "'"
        if self._take("_") is None:
            return Sym(name)
        if self._take("{") is None:
            token = self._token()
            self.at += 1
            if token is None:
                raise Unreadable("an index is missing")
            return Sym(f"{name}_{token.text}")
        parts = []
        while (token := self._token()) is not None and token.text != "}":
            parts.append(token.text)
            self.at += 1
        self._expect("}")
        return Sym(f"{name}_{''.join(parts)}")

    def _command(self, name: str, depth: int) -> Expr:
        if name == "frac":
            top, bottom = self._argument(depth), self._argument(depth)
            return Op("div", (top, bottom))
        if name == "binom":
            top, bottom = self._argument(depth), self._argument(depth)
            return Op("binom", (top, bottom))
        if name == "sqrt":
            return self._root(depth)
        if name in _FUNCTIONS:
            return self._function(name, depth)
        if name in _CONSTANTS or name in _GREEK:
            return self._indexed(_CONSTANTS.get(name, name))
        raise Unreadable(f"\\{name} is not understood")

    def _root(self, depth: int) -> Expr:
        degree: Expr = Num(Fraction(2))
        if self._take("[") is not None:
            degree = self.sum(depth + 1)
            self._expect("]")
        return Op("root", (self._argument(depth), degree))

    def _argument(self, depth: int) -> Expr:
        r"""What \frac and \sqrt take: a group, or one digit or letter."""
        if self._take("{") is not None:
            tree = self.sum(depth + 1)
            self._expect("}")
            return tree
        token = self._token()
        if token is not None and token.kind == "num" and token.text.isdigit() and len(token.text) > 1:
            return Num(Fraction(self._split_digit(token)))
        if token is not None and token.kind == "word" and len(token.text) > 1 and token.text not in _CONSTANTS:
            self.tokens[self.at] = Token("word", token.text[1:], glued=True)
            return Sym(token.text[0])
        return self._primary(depth + 1)

    def _function(self, name: str, depth: int) -> Expr:
        power: Expr | None = None
        base: Expr | None = None
        while self._peek() in ("^", "_"):
            if self._take("^") is not None:
                power = self._exponent(depth)
            else:
                self.at += 1
                base = self._exponent(depth)
        if name == "sqrt":
            return Op("root", (self._argument(depth), Num(Fraction(2))))
        if power == Op("neg", (Num(Fraction(1)),)) and name in _INVERSE:
            name, power = _INVERSE[name], None
        arguments = self._arguments(depth)
        if base is not None:
            if name != "log":
                raise Unreadable(f"an index against {name}")
            arguments = (*arguments, base)
        tree = Op("lg" if name == "log" and base is None else name, arguments)
        if name == "log" and base is None:
            # log without a base is the natural one in some fields and the common one in others.
            tree = Op("log", arguments)
        return tree if power is None else Op("pow", (tree, power))

    def _arguments(self, depth: int) -> tuple[Expr, ...]:
        if self._peek() in ("(", "[", "{"):
            closer = _OPENERS[self.tokens[self.at].text][0]
            self.at += 1
            arguments = [self.sum(depth + 1)]
            while self._take(",", ";") is not None:
                arguments.append(self.sum(depth + 1))
            self._expect(closer)
            if len(arguments) == 1 and self._peek() == "^" and closer == ")":
                # sin(x)^2 is the square of the sine in every system that is typed into.
                return tuple(arguments)
            return tuple(arguments)
        return (self._bare_argument(depth),)

    def _bare_argument(self, depth: int) -> Expr:
        r"""\sin 2x y: all factors that follow without a sign, up to another function."""
        negative = self._take("-") is not None
        tree = self._power(depth + 1)
        while self._begins_factor() and not self._begins_function():
            tree = Op("mul", (tree, self._power(depth + 1)))
        while self._peek() == "/" and isinstance(tree, Num | Sym | Op) and self._simple_after_slash():
            self.at += 1
            tree = Op("div", (tree, self._power(depth + 1)))
        return Op("neg", (tree,)) if negative else tree

    def _simple_after_slash(self) -> bool:
        after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        return after is not None and after.kind == "num"

    def _begins_function(self) -> bool:
        token = self._token()
        return token is not None and token.text.lstrip("\\") in _FUNCTIONS and token.text.lstrip("\\") != "sqrt"

    def _token(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _peek(self) -> str | None:
        token = self._token()
        return token.text if token is not None and token.kind != "text" else None

    def _take(self, *texts: str) -> str | None:
        found = self._peek()
        if found is None or found not in texts:
            return None
        self.at += 1
        return found

    def _expect(self, *texts: str) -> None:
        if self._take(*texts) is None:
            raise Unreadable(f"{texts[0]!r} is missing")


def _repeated(whole: str, after: str, digits: str) -> Num:
    """whole.after followed by digits for ever; with dots the digits are the last of `after` already, which adds nothing
    but what they would add."""
    if len(digits) > 50 or len(after) > 50:
        raise Unreadable("too many digits that repeat")
    shift = 10 ** len(after)
    head = Fraction(int((whole or "0") + after), shift)
    return Num(head + Fraction(int(digits), (10 ** len(digits) - 1) * shift))
