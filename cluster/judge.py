"""An actor that has a part's answers judged by an LLM: it buys what the judge says, as every other call is bought."""

from collections.abc import Sequence
from typing import Any

from cluster.asks import Ask, Judging, read_kept
from cluster.generate import Generate
from pipeline.ledger import Call, Entry, Ledger
from pipeline.store import Store
from pipeline.trace import traces_of, verified
from pipeline.truncated import Truncated
from pipeline.verify import Verifier, VerifySettings


class Judge(Generate):
    """Part in, the same part out once all judgements of its answers are in the ledger, or with why they are not.

    It comes after those who buy the answers and before Collect. What it asks follows from the problems and the ledger,
    so a run that was killed asks the same again. To know which answers are undecided it verifies them for itself.
    """

    def __init__(
        self,
        store: Store,
        judging: Judging,
        asks: Sequence[Ask],
        verify: VerifySettings,
        invocation: str,
        board: Any,
        keeper: Any,
    ) -> None:
        super().__init__(store, judging.ask, invocation, board, keeper)
        self._judging = judging
        self._asks = asks
        self._verifier = Verifier(verify) if judging.asks == "undecided" else None

    def _wanted(self, problems: str, ledger: Ledger) -> tuple[list[tuple[list[Call], Truncated]], dict[str, Entry]]:
        known = ledger.read()
        made = [
            trace
            for problem in read_kept(self._store, problems)
            for ask in self._asks
            for trace in traces_of(problem, ask.calls(problem), known, ask.generation.truncated)
            if trace is not None
        ]
        if self._verifier is not None:
            made = verified(made, self._verifier)
        # Equal replies to one problem are one question.
        calls = {call.key: call for trace in made for call in self._judging.calls(trace)}
        return [(list(calls.values()), self._ask.generation.truncated)], known
