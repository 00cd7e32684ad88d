"""Show what a run has bought: by engine, day (UTC) and outcome, with calls, tokens and cost.

cost_usd is what was billed. unsure_usd is the most that was billed beyond it, for answers that came without a usage
block and requests that broke off. Calls that were open when their process was killed are in no line: below the table
stands the most that they may have cost.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from pipeline.bought import Bought, Sums, bought
from pipeline.errors import BadRecipe, Stop
from pipeline.store import Store

_FIGURES = ("calls", "prompt_tokens", "thought_tokens", "reply_tokens", "cost_usd", "unsure_usd")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a run's ledger, as a table or as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder or URI, such as runs/demo (<storage>/<name> of its recipe)")
    parser.add_argument("--json", action="store_true", help="print the same as one JSON object")
    asked = parser.parse_args(arguments)
    try:
        held = bought(Store(asked.run))
    except (Stop, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)
    if asked.json:
        sys.stdout.write(orjson.dumps(_as_json(held), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _show(held)


def _as_json(held: Bought) -> dict[str, Any]:
    groups = [asdict(group) | asdict(sums) for group, sums in held.groups.items()]
    return {"groups": groups, "total": asdict(held.total), "open_usd": held.open_usd, "torn": held.torn}


def _show(held: Bought) -> None:
    table = Table("engine", "day", "outcome", box=None, pad_edge=False)
    for name in _FIGURES:
        table.add_column(name, justify="right")
    for group, sums in held.groups.items():
        table.add_row(group.engine, group.day, group.outcome, *_figures(sums))
    table.add_row("total", "", "", *_figures(held.total), style="bold")
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False)
    console.print(table)
    if held.open_usd:
        most = sum(held.open_usd.values())
        print(f"open: {len(held.open_usd)} callers have not closed; their open calls may have cost up to ${most:,.4f}")
    for name in held.torn:
        print(f"torn: {name} can't be read")


def _figures(sums: Sums) -> list[str]:
    figures = asdict(sums)
    return [f"{figures[name]:,.4f}" if name.endswith("_usd") else f"{figures[name]:,}" for name in _FIGURES]


if __name__ == "__main__":
    main()
