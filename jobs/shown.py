"""Rows in a terminal. Their texts are foreign: no markup, and no control character gets through."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_SHOWN_CHARS = 700
_FLOWING_CHARS = 36
_OWN_LINE = frozenset({"drop", "drop_why", "why", "shared"})
_MARKED_CHARS = 20_000
_WIDTH = 140
_COLOURS = {"kept": "green", "correct": "green", "chosen": "green", "rejected": "red", "wrong": "red"}
_LONG = frozenset({"prompt", "raw_prompt", "solution", "thought", "reply", "messages", "chosen", "rejected"}) | {
    "text",
    "benchmark_text",
}
_HEAD = ("id", "problem_id", "source")
_WORD = re.compile(r"\w+")
# Control characters, and those that turn or hide text.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class Shown:
    """Prints a funnel and rows."""

    def __init__(self, *, full: bool) -> None:
        self._full = full
        self._cluster: str | None = None
        width = None if sys.stdout.isatty() else _WIDTH
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)

    def funnel(self, step: str, counts: Mapping[str, Counter[str]]) -> None:
        """How many rows there are, and what became of them."""
        total = sum(counted.total() for counted in counts.values())
        table = Table(
            title=f"{step}: {total:,} rows", title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        grouped = any(counts)
        for name in (["where"] if grouped else []) + ["what became of it"]:
            table.add_column(name)
        for name in ("rows", "share"):
            table.add_column(name, justify="right")
        for group, counted in counts.items():
            for reason, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
                style = _COLOURS.get(reason, "")
                cells = [Text(safe(reason), style), Text(f"{count:,}"), Text(f"{100 * count / counted.total():.1f} %")]
                table.add_row(*([Text(safe(group))] if grouped else []), *cells)
        self._console.print(table)

    def none(self) -> None:
        """No row fits."""
        self._console.print("no row fits")

    def json(self, row: Mapping[str, Any]) -> None:
        """One line of JSON."""
        line = json.dumps(row, ensure_ascii=False, default=str)
        sys.stdout.write(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line) + "\n")

    def row(self, step: str, row: Mapping[str, Any]) -> None:
        """One row: its short columns first, then its texts."""
        if step == "clusters" and row.get("cluster") == self._cluster:
            self._console.print()
        else:
            self._rule(row, step)
        self._cluster = row.get("cluster")
        texts = {name: _text(value) for name, value in row.items() if name in _LONG and value}
        marked = _marks(texts["text"], texts["benchmark_text"]) if {"text", "benchmark_text"} <= texts.keys() else None
        self._short({name: value for name, value in row.items() if name not in _LONG and value not in (None, "")}, step)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in texts.items():
            shown = self._cut(text, shared=marked)
            grid.add_row(Text(name, _COLOURS.get(name, "")), shown)
        self._console.print(grid)

    def _short(self, values: Mapping[str, Any], step: str) -> None:
        """What is short in one paragraph, then what needs a line of its own."""
        line, longer = Text(), Table.grid(padding=(0, 2))
        longer.add_column(style="cyan", no_wrap=True)
        longer.add_column(overflow="fold")
        for name, value in values.items():
            if name == "cluster" if step == "clusters" else name in _HEAD:
                continue
            shown = self._value(name, value)
            if len(shown) > _FLOWING_CHARS or name in _OWN_LINE:
                longer.add_row(Text(name), shown)
            else:
                line.append("   " if line else "").append(f"{name} ", "cyan").append_text(shown)
        if line:
            self._console.print(line)
        if longer.row_count:
            self._console.print(longer)

    def _rule(self, row: Mapping[str, Any], step: str) -> None:
        names = ("cluster",) if step == "clusters" else _HEAD
        title = "  ".join(safe(str(row[name])) for name in names if row.get(name))
        self._console.print()
        self._console.rule(Text(title), align="left", style="dim", characters="-")

    def _value(self, name: str, value: object) -> Text:
        if isinstance(value, float):
            value = f"{value:.4g}"
        style = _COLOURS.get(str(value), "") or ("yellow" if name in ("drop", "drop_why", "layer") else "")
        return self._cut(str(value), style=style)

    def _cut(self, text: str, *, style: str = "", shared: set[tuple[str, ...]] | None = None) -> Text:
        """A text or its beginning, with the words that are shared marked."""
        most = len(text) if self._full else _SHOWN_CHARS
        shown = self._marked(safe(text[:most]), shared) if shared else Text(safe(text[:most]), style)
        if len(text) > most:
            shown.append(f" ... ({len(text):,} characters; --full shows all)", "dim")
        return shown

    def _marked(self, text: str, shared: set[tuple[str, ...]]) -> Text:
        """The shared words in colour, and between [[ and ]] where there are no colours."""
        marked, at = Text(), 0
        for start, stop in _spans(text, shared):
            inside = text[start:stop]
            marked.append(text[at:start])
            marked.append(inside if self._console.is_terminal else f"[[{inside}]]", "bold black on yellow")
            at = stop
        return marked.append(text[at:])


def safe(text: str) -> str:
    """A text whose control characters, and those that turn or hide text, are written out as <U+001B>."""
    return _UNSAFE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))


def _text(value: object) -> str:
    """A text column, or the messages of a conversation one after another."""
    if isinstance(value, list):
        return "\n".join(f"[{each.get('role')}] {each.get('content')}" for each in value if isinstance(each, dict))
    return str(value)


def _marks(one: str, other: str) -> set[tuple[str, ...]]:
    """The longest runs of words that both texts have: of 5, else of 3, else of 2 or 1 words."""
    words = [_WORD.findall(text[:_MARKED_CHARS].lower()) for text in (one, other)]
    for size in (5, 3, 2, 1):
        a, b = ({tuple(line[at : at + size]) for at in range(len(line) - size + 1)} for line in words)
        if a & b:
            return a & b
    return set()


def _spans(text: str, shared: set[tuple[str, ...]]) -> Sequence[tuple[int, int]]:
    """Where a text has one of the runs."""
    size = len(next(iter(shared)))
    found = list(_WORD.finditer(text[:_MARKED_CHARS]))
    words = [each[0].lower() for each in found]
    starts = [at for at in range(len(words) - size + 1) if tuple(words[at : at + size]) in shared]
    spans: list[tuple[int, int]] = []
    for at in starts:
        start, stop = found[at].start(), found[at + size - 1].end()
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans
