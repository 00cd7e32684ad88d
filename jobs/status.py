"""Show what a run is at, live, from any machine that reaches its folder; the cluster itself is not asked.

    python -m jobs.status s3://bucket/runs/demo            until nobody works on it any more; Ctrl-C ends the watching
    python -m jobs.status s3://bucket/runs/demo --once     one look; --json gives the same as JSON

Exits 0 when a command works on it or all that was begun is complete, 3 when a command gave no sign of life for a
minute, or the last one stopped half way.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.doing import STATUS
from jobs.job import number, usd
from pipeline.errors import BadRecipe, Stop
from pipeline.lock import STALE_S, holder
from pipeline.store import Store

_LOOK_S = 2.0
_STEPS = ("curate", "distill", "choose", "train", "evaluate", "report")
_SILENT = 3
_SHOWN = {
    "curate": ("in", "kept"),
    "distill": ("problems", "traces", "verdicts", "cost_usd"),
    "choose": ("examples", "tokens"),
    "train": ("phases",),
    "evaluate": ("models",),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a run's folder says at one moment; `held` is who works on it, `doing` what that command says of itself."""

    root: str
    at: float
    held: Mapping[str, Any] | None
    doing: Mapping[str, Any]
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def silent_s(self) -> float | None:
        """Seconds since the command's last sign of life; None where none works on it."""
        return None if self.held is None else max(0.0, self.at - self.held["beat"])

    @property
    def lives(self) -> bool:
        """Whether a command works on it."""
        return self.silent_s is not None and self.silent_s <= STALE_S

    @property
    def is_fine(self) -> bool:
        """Whether a command works on it, or nothing is left half done."""
        return self.lives or (self.held is None and all(step.get("complete", True) for step in self.done.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Show a run from the command line."""
    asked = _arguments(arguments)
    try:
        store = Store(asked.run)
        look = look_at(store)
        if asked.json:
            sys.stdout.write(orjson.dumps(as_json(look), option=orjson.OPT_INDENT_2).decode() + "\n")
        elif asked.once or not look.lives:
            Console(width=None if sys.stdout.isatty() else 140).print(page(look, None))
        else:
            look = _watch(store, look)
    except (Stop, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if look.is_fine else _SILENT)


def look_at(store: Store) -> Look:
    """What the folder says now. Raises Stop where there is no run."""
    held, doing = holder(store), _read(store, STATUS) or {}
    done = {name: summary for name in _STEPS if (summary := _read(store, f"summary/{name}.json")) is not None}
    if held is None and not doing and not done and not store.exists("recipe.yaml"):
        raise Stop(f"{store.root} is no run: give <storage>/<name> of its recipe, such as runs/demo")
    return Look(store.root, time.time(), held, doing, done)


def as_json(look: Look) -> dict[str, Any]:
    """All that is known, for programs."""
    return {
        "run": look.root,
        "at": look.at,
        "works": look.lives,
        "silent_s": look.silent_s,
        "command": look.held,
        **{name: look.doing.get(name) for name in ("job", "dashboard", "steps")},
        "done": look.done,
    }


def page(look: Look, before: Look | None) -> Group:
    """What people see; rates are since the look before, else since a step's start."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, text in (*_head(look), *_finished(look), *_steps(look, before)):
        table.add_row(Text(name), Text(text))
    return Group(table)


def _watch(store: Store, look: Look) -> Look:
    """Show it until nobody works on it; the last look."""
    before: Look | None = None
    console = Console(width=None if sys.stdout.isatty() else 140)
    with Live(page(look, None), console=console, auto_refresh=False, transient=False) as live:
        while look.held is not None:
            time.sleep(_LOOK_S)
            now = look_at(store)
            if now.doing.get("at") != look.doing.get("at"):
                before = look
            look = now
            live.update(page(look, before), refresh=True)
    return look


def _head(look: Look) -> Iterator[tuple[str, str]]:
    yield "run", look.root
    held = look.held
    if held is None:
        yield "now", "no command works on it"
        return
    where = f"{held['command']} on {held['machine']}, process {held['process']}"
    if look.doing.get("job"):
        where += f", Ray job {look.doing['job']}"
    sign = f"sign of life {look.silent_s:.0f} s ago"
    yield "now", f"{where}, {sign}" if look.lives else f"NO SIGN OF LIFE for {look.silent_s:,.0f} s: {where}"
    if look.doing.get("dashboard"):
        yield "dashboard", look.doing["dashboard"]


def _finished(look: Look) -> Iterator[tuple[str, str]]:
    at_work = {step["step"] for step in look.doing.get("steps", [])}
    for name, summary in look.done.items():
        if name not in at_work:
            figures = [_figure(key, summary[key]) for key in _SHOWN.get(name, ()) if key in summary]
            state = "done" if summary.get("complete", True) else "stopped half way"
            yield name, "  ".join([state, *figures])


def _figure(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        flat = all(not isinstance(part, Mapping | list) for part in value.values())
        return "  ".join(_figure(key, part) for key, part in value.items()) if flat else f"{name} {', '.join(value)}"
    if isinstance(value, list):
        return f"{name} {', '.join(str(part.get('name')) for part in value)}"
    return f"cost {usd(value)}" if name == "cost_usd" else f"{name} {number(value)}"


def _steps(look: Look, before: Look | None) -> Iterator[tuple[str, str]]:
    if not look.lives:
        return
    earlier = {step["step"]: step for step in (before.doing.get("steps", []) if before else [])}
    for step in look.doing.get("steps", []):
        figures = step["figures"]
        yield step["step"], step["line"] or f"parts {figures.get('parts_done', 0):g}/{figures.get('parts', 0):g}"
        was = earlier.get(step["step"])
        seconds = look.doing["at"] - (before.doing["at"] if was and before else step["started"])
        for name, text in _details(figures, was["figures"] if was else {}, max(seconds, 1e-9)):
            yield f"  {name}", text


def _details(figures: Mapping[str, Any], was: Mapping[str, Any], seconds: float) -> Iterator[tuple[str, str]]:
    """One line for each kind of figure that a step has; `was` are those of `seconds` ago."""

    def rate(prefix: str) -> float:
        return sum(value - was.get(name, 0) for name, value in _below(figures, prefix)) / seconds

    if rows := dict(_below(figures, "rows")):
        killed = figures.get("verifier_kills", 0)
        more = f"  judges killed {killed:g}" if killed else ""
        yield "rows", f"{_named(rows, 'rows')}  ({number(round(rate('rows'), 1))}/s){more}"
    for teacher in sorted({name.split("/")[1] for name, _ in _below(figures, "requests_open")}):
        ended = _named(dict(_below(figures, f"requests/{teacher}")), f"requests/{teacher}")
        now = {name: figures.get(f"requests_{name}/{teacher}", 0) for name in ("open", "waiting", "limit")}
        yield f"requests to {teacher}", f"{ended}  {'  '.join(f'{name} {value:g}' for name, value in now.items())}"
    if dict(_below(figures, "tokens")):
        yield "tokens", f"{number(round(rate('tokens')))}/s  {_named(dict(_below(figures, 'tokens')), 'tokens')}"
    if "budget_usd/ceiling" in figures:
        money = {name: figures[f"budget_usd/{name}"] for name in ("settled", "reserved", "ceiling")}
        yield "money", "  ".join(f"{name} {usd(value)}" for name, value in money.items())
    if "kv_cache_used" in figures:
        deaths = figures.get("engine_deaths", 0)
        more = f"  engines lost {deaths:g}" if deaths else ""
        draws = f"draws {figures.get('engine_draws', 0):g}  waiting {figures.get('engine_waiting', 0):g}"
        yield "engines", f"{draws}  KV cache {figures['kv_cache_used']:.0%}{more}"
    trained = [f"{name} {number(figures[name])}" for name in ("lr", "grad_norm", "ranks", "skipped") if name in figures]
    if trained:
        mfu = f"  MFU {figures['mfu']:.1%}" if "mfu" in figures else ""
        yield "training", "  ".join(trained) + mfu


def _below(figures: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in figures.items() if name.startswith(f"{prefix}/"))


def _named(figures: Mapping[str, float], prefix: str) -> str:
    return "  ".join(f"{name.removeprefix(f'{prefix}/')} {number(round(value))}" for name, value in figures.items())


def _read(store: Store, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = store.read_json(name)
    except (FileNotFoundError, ValueError):
        return None
    return found


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder or URI: <storage>/<name> of its recipe, such as runs/demo")
    parser.add_argument("--once", action="store_true", help="look once, and end")
    parser.add_argument("--json", action="store_true", help="look once, and print one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
