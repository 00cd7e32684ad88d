"""A place in a row of tokens, and the steps from it."""

from pipeline.maths.tokens import Token, Unreadable


class Cursor:
    """Tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        # In a sum or a product a word can only be the name of a quantity.
        self.names = any(token.text in ("+", "-", "*", "/", "^") for token in tokens)

    def token(self) -> Token | None:
        """The token at hand, None behind the last."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def peek(self) -> str | None:
        """The sign at hand; None for words and behind the last."""
        token = self.token()
        return token.text if token is not None and token.kind != "text" else None

    def take(self, *texts: str) -> str | None:
        """The sign at hand if it is one of these, and a step past it."""
        found = self.peek()
        if found is None or found not in texts:
            return None
        self.at += 1
        return found

    def expect(self, *texts: str) -> None:
        """A step past one of these signs. Raises Unreadable when something else stands there."""
        if self.take(*texts) is None:
            raise Unreadable(f"{texts[0]!r} is missing")
