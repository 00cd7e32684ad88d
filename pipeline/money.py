"""The ceiling on money: the worst case is reserved before a call, and what it cost is settled after.

Each caller's charge is what it has settled and what its open calls may still cost. The charges of callers that have not
closed are written down before a reservation counts, so a process that is killed leaves behind the most that its open
calls can have cost; that stays charged, for nobody knows what was billed for them.
"""

from collections.abc import Mapping

# Sums of fractions drift; this is far below what any call costs.
_CENT = 1e-9


class Money:
    """Keeps the sum of all charges at or under a budget (USD)."""

    def __init__(self, budget_usd: float, *, bought: Mapping[str, float], left_open: Mapping[str, float]) -> None:
        """`bought`: what the ledger holds, by caller; `left_open`: charges of callers that never closed."""
        self.budget_usd = budget_usd
        self.lost_usd = sum(max(0.0, usd - bought.get(caller, 0.0)) for caller, usd in left_open.items())
        self._charges = {caller: max(bought.get(caller, 0.0), left_open.get(caller, 0.0)) for caller in bought}
        self._charges |= {caller: usd for caller, usd in left_open.items() if caller not in bought}
        self._total = sum(self._charges.values())
        self._live: dict[str, float] = {}
        self._open = set(left_open)
        self._saved = dict(left_open)
        self.unsaved = False

    @property
    def charged_usd(self) -> float:
        """What is spent and reserved in all."""
        return self._total

    @property
    def reserved_usd(self) -> float:
        """What open calls may still cost."""
        return sum(self._live.values())

    def note(self, caller: str, settled: float, reserved: float, *, closing: bool = False) -> None:
        """Take in what a caller has settled and reserved; a closing one has nothing open."""
        self._charge(caller, settled + reserved)
        if closing:
            self._live.pop(caller, None)
            self.unsaved |= caller in self._open
            self._open.discard(caller)
        else:
            self._live[caller] = reserved

    def lose(self, caller: str) -> None:
        """Wait no longer for a caller that is silent; its charge stays, and it may speak again."""
        if self._live.get(caller, 0.0) > 0:
            self._live.pop(caller)

    def reserve(self, caller: str, usd: float) -> bool:
        """Charge the most that a call can cost, if the budget allows."""
        if self._total + usd > self.budget_usd:
            return False
        self._charge(caller, self._charges.get(caller, 0.0) + usd)
        self._live[caller] = self._live.get(caller, 0.0) + usd
        self._open.add(caller)
        self.unsaved |= self._charges[caller] > self._saved.get(caller, 0.0)
        return True

    def ceiling(self, usd: float) -> str | None:
        """The line that says the budget is used up; None while open calls may still leave some of it."""
        if any(reserved > 0 for reserved in self._live.values()):
            return None
        lost = f", ${self.lost_usd:,.4f} of it for calls that were open when a process was killed"
        return (
            f"budget_usd={self.budget_usd:g} is reached: ${self._total:,.4f} is spent{lost if self.lost_usd else ''}, "
            f"and the next call may cost ${usd:,.4f}; raise budget_usd and run the same command again to go on"
        )

    def open_charges(self) -> dict[str, float]:
        """The charges of callers that have not closed: to be on storage before a reservation counts."""
        return {caller: self._charges[caller] for caller in self._open}

    def saved(self, charges: Mapping[str, float]) -> None:
        """These charges are on storage now."""
        self._saved = dict(charges)
        self.unsaved = False

    def close_idle(self, bought: Mapping[str, float]) -> None:
        """Close every caller that has nothing reserved and whose bill the ledger holds in full."""
        for caller, reserved in list(self._live.items()):
            if reserved <= 0 and bought.get(caller, 0.0) >= self._charges[caller] - _CENT:
                self.note(caller, self._charges[caller], 0.0, closing=True)

    def _charge(self, caller: str, usd: float) -> None:
        self._total += usd - self._charges.get(caller, 0.0)
        self._charges[caller] = usd
