r"""Read one value of a written answer into a tree: numbers as exact fractions, nothing evaluated, nothing run.

What is not understood is refused (Unreadable): a reading that skips a part of an answer would call different answers
equal.
"""

from collections.abc import Sequence
from fractions import Fraction

from pipeline.maths.numerals import Numerals
from pipeline.maths.tokens import Token, Unreadable
from pipeline.maths.tree import CALL, CONSTANTS, Expr, Num, Op, Sym
from pipeline.maths.vocabulary import ALIASES, APPLIED, CONSTANT_NAMES, FUNCTIONS, GREEK

DEEPEST = 40
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_OPENERS = {"(": (")",), "[": ("]",), "{": ("}",), r"\lfloor": (r"\rfloor",), r"\lceil": (r"\rceil",)}


def parse(tokens: Sequence[Token]) -> Expr:
    """The tree of one value. Raises Unreadable when any token is left over or not understood."""
    parser = _Parser(list(tokens))
    tree = parser.sum(0)
    if parser.at < len(parser.tokens):
        raise Unreadable(f"{parser.tokens[parser.at].text!r} is not expected there")
    return tree


class _Parser(Numerals):
    def sum(self, depth: int) -> Expr:
        if depth > DEEPEST:
            raise Unreadable("nested too deeply")
        left = self._product(depth)
        while (sign := self.take("+", "-", r"\pm", r"\mp")) is not None:
            right = self._product(depth)
            if sign == "-":
                right = Op("neg", (right,))
            left = Op("pm" if sign in (r"\pm", r"\mp") else "add", (left, right))
        return left

    def _product(self, depth: int) -> Expr:
        left = self._signed(depth)
        while True:
            if (sign := self.take("*", "/")) is not None:
                right = self._signed(depth)
                left = Op("mul" if sign == "*" else "div", (left, right))
            elif self._begins_factor():
                left = Op("mul", (left, self._power(depth)))
            else:
                return left

    def _signed(self, depth: int) -> Expr:
        negative = False
        while (sign := self.take("+", "-")) is not None:
            negative ^= sign == "-"
        tree = self._pm(depth) if self.peek() in (r"\pm", r"\mp") else self._power(depth)
        return Op("neg", (tree,)) if negative else tree

    def _pm(self, depth: int) -> Expr:
        self.at += 1
        return Op("pm", (Num(Fraction(0)), self._product(depth)))

    def _begins_factor(self) -> bool:
        token = self.token()
        if token is None or token.kind in ("begin", "end", "text"):
            return False
        if token.kind == "num":
            # "2 3" is no product that anyone writes.
            before = self.tokens[self.at - 1]
            return before.kind in ("word", "cmd") or before.text in (")", "]", "}", "!")
        return token.kind == "word" or token.text in _OPENERS or (token.kind == "cmd" and self._is_operand(token.text))

    def _is_operand(self, text: str) -> bool:
        name = text[1:]
        known = FUNCTIONS | GREEK | CONSTANT_NAMES.keys() | {"frac", "sqrt", "binom", "overline"}
        return name in known or text in (r"\lfloor", r"\lceil")

    def _power(self, depth: int) -> Expr:
        base = self._marked(self._primary(depth))
        if self.take("^") is None:
            return base
        if self.peek() == r"\circ":
            self.at += 1
            return self._marked(Op("degree", (base,)))
        exponent = self._exponent(depth)
        if exponent == Op("degree", ()):
            return self._marked(Op("degree", (base,)))
        return self._marked(Op("pow", (base, exponent)))

    def _marked(self, tree: Expr) -> Expr:
        while (sign := self.take("!", "%", r"\circ")) is not None:
            if sign == "!" and self.peek() == "!":
                raise Unreadable("a double factorial")
            tree = Op({"!": "fact", "%": "percent"}.get(sign, "degree"), (tree,))
        return tree

    def _exponent(self, depth: int) -> Expr:
        if self.peek() == "{":
            self.at += 1
            if self.peek() == r"\circ":
                self.at += 1
                self.expect("}")
                return Op("degree", ())
            tree = self.sum(depth + 1)
            self.expect("}")
            return tree
        negative = self.take("-") is not None
        tree = self._power(depth + 1) if negative or self.peek() in ("(",) else self._right_power(depth)
        return Op("neg", (tree,)) if negative else tree

    def _right_power(self, depth: int) -> Expr:
        """a^b^c, as plain text has it, is a^(b^c)."""
        tree = self._primary(depth + 1)
        if self.take("^") is not None:
            return Op("pow", (tree, self._exponent(depth + 1)))
        return tree

    def _primary(self, depth: int) -> Expr:
        token = self.token()
        if token is None:
            raise Unreadable("something is missing at its end")
        if depth > DEEPEST:
            raise Unreadable("nested too deeply")
        self.at += 1
        if token.kind == "num":
            return self.number(token)
        if token.kind == "word":
            return self._word(token, depth)
        if token.text in _OPENERS:
            return self._bracket(token.text, depth)
        if token.text == "|":
            tree = self.sum(depth + 1)
            self.expect("|")
            return Op("abs", (tree,))
        if token.kind == "cmd":
            return self._command(token.text[1:], depth)
        raise Unreadable(f"{token.text!r} is not understood")

    def _bracket(self, opener: str, depth: int) -> Expr:
        tree = self.sum(depth + 1)
        self.expect(*_OPENERS[opener])
        if opener == "[" and isinstance(tree, Num):
            raise Unreadable("a list of one number")
        name = {r"\lfloor": "floor", r"\lceil": "ceil"}.get(opener)
        return Op(name, (tree,)) if name else self.based(tree)

    def _word(self, token: Token, depth: int) -> Expr:
        name = ALIASES.get(token.text, token.text)
        if name in FUNCTIONS:
            return self._function(name, depth)
        if name in CONSTANT_NAMES or name in GREEK:
            return self._indexed(CONSTANT_NAMES.get(name, name))
        if len(name) == 1:
            return self._applied(self._indexed(name), depth)
        if len(name) > 3:
            if not self.names:
                raise Unreadable(f"{name!r} is a word")
            return self._indexed(name)
        # abc is the product of a, b and c; the last one may have an index.
        self.tokens[self.at : self.at] = [Token("word", letter, glued=True) for letter in name[1:]]
        return self._indexed(name[0])

    def _applied(self, name: Expr, depth: int) -> Expr:
        """f(x), I(0): a value of a function, not a product, which might be 0 and hide all else.

        Letters that are seldom functions are so only at a number: x(x + 1) is a product, x(0) is not.
        """
        if self.peek() != "(" or not isinstance(name, Sym) or name.name in CONSTANTS:
            return name
        ahead = [token.text for token in self.tokens[self.at + 1 : self.at + 3]]
        at_a_number = len(ahead) == 2 and ahead[1] == ")" and ahead[0].isdigit()
        if not at_a_number and name.name.rstrip("'") not in APPLIED:
            return name
        return Op(f"{CALL}{name.name}", self._arguments(depth))

    def _indexed(self, name: str) -> Expr:
        """A variable with its index or its primes, which make it another variable."""
        while self.peek() == "'":
            self.at += 1
            name += "'"
        if self.take("_") is None:
            return Sym(name)
        if self.take("{") is None:
            token = self.token()
            self.at += 1
            if token is None:
                raise Unreadable("an index is missing")
            return Sym(f"{name}_{token.text}")
        parts = []
        while (token := self.token()) is not None and token.text != "}":
            parts.append(token.text)
            self.at += 1
        self.expect("}")
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
        if name in FUNCTIONS:
            return self._function(name, depth)
        if name in CONSTANT_NAMES or name in GREEK:
            return self._applied(self._indexed(CONSTANT_NAMES.get(name, name)), depth)
        raise Unreadable(f"\\{name} is not understood")

    def _root(self, depth: int) -> Expr:
        degree: Expr = Num(Fraction(2))
        if self.take("[") is not None:
            degree = self.sum(depth + 1)
            self.expect("]")
        return Op("root", (self._argument(depth), degree))

    def _argument(self, depth: int) -> Expr:
        r"""What \frac and \sqrt take: a group, or one digit or letter."""
        if self.take("{") is not None:
            tree = self.sum(depth + 1)
            self.expect("}")
            return tree
        token = self.token()
        if token is not None and token.kind == "num" and token.text.isdigit() and len(token.text) > 1:
            return Num(Fraction(self.split_digit(token)))
        if token is not None and token.kind == "word" and len(token.text) > 1 and token.text not in CONSTANT_NAMES:
            self.tokens[self.at] = Token("word", token.text[1:], glued=True)
            return Sym(token.text[0])
        return self._primary(depth + 1)

    def _function(self, name: str, depth: int) -> Expr:
        power: Expr | None = None
        base: Expr | None = None
        while self.peek() in ("^", "_"):
            if self.take("^") is not None:
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
        tree = Op(name, arguments)
        return tree if power is None else Op("pow", (tree, power))

    def _arguments(self, depth: int) -> tuple[Expr, ...]:
        if self.peek() in ("(", "[", "{"):
            closer = _OPENERS[self.tokens[self.at].text][0]
            self.at += 1
            arguments = [self.sum(depth + 1)]
            while self.take(",", ";") is not None:
                arguments.append(self.sum(depth + 1))
            self.expect(closer)
            # A power behind the bracket is that of the function: sin(x)^2.
            return tuple(arguments)
        return (self._bare_argument(depth),)

    def _bare_argument(self, depth: int) -> Expr:
        r"""\sin 2x y: all factors that follow without a sign, up to another function."""
        negative = self.take("-") is not None
        tree = self._power(depth + 1)
        while self._begins_factor() and not self._begins_function():
            tree = Op("mul", (tree, self._power(depth + 1)))
        while self.peek() == "/" and self._simple_after_slash():
            self.at += 1
            tree = Op("div", (tree, self._power(depth + 1)))
        return Op("neg", (tree,)) if negative else tree

    def _simple_after_slash(self) -> bool:
        after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        return after is not None and after.kind == "num"

    def _begins_function(self) -> bool:
        token = self.token()
        return token is not None and token.text.lstrip("\\") in FUNCTIONS and token.text.lstrip("\\") != "sqrt"
