"""Show rows of a run in the terminal: what became of them (the funnel), then the rows themselves.

  python -m jobs.look runs/demo problems --drop duplicate       what a rule dropped, and why
  python -m jobs.look runs/demo traces --verdict undecided      what could not be judged
  python -m jobs.look runs/demo matches --full                  both texts, what they share is marked
  python -m jobs.look runs/demo candidates --drop too_long      a choice that could not be made: why not these
  python -m jobs.look runs/demo dataset --seed 1 --limit 3      three examples drawn at random
  python -m jobs.look s3://bucket/runs/demo pairs --json        as lines of JSON

Reads file by file and only the columns it needs; starts no Ray, writes nothing.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from jobs.shown import Shown
from pipeline.errors import BadRecipe, Stop
from pipeline.looking.rows import Filter, Row, check, clusters, funnel, select
from pipeline.looking.views import VIEWS, View, files, steps_there
from pipeline.store import Store


def main(arguments: Sequence[str] | None = None) -> None:
    """Show one kind of rows of a run."""
    asked = _parser().parse_args(arguments)
    try:
        _look(asked)
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does; what Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Stop, OSError, pa.ArrowInvalid) as error:
        print(f"error: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _look(asked: argparse.Namespace) -> None:
    store = _store(asked.run)
    view = VIEWS[asked.step]
    _check(store, asked.step)
    columns = _columns(store, view, asked.columns)
    wanted = Filter(**{name: getattr(asked, name) for name in Filter.__dataclass_fields__})
    check(store, view, wanted)
    limit = asked.limit or None
    shown = Shown(full=asked.full)
    if not asked.json:
        shown.funnel(asked.step, funnel(store, view))
    if asked.step == "clusters" and not asked.columns:
        groups = clusters(store, view, wanted, limit=limit, seed=asked.seed)
        _print(shown, asked, (row for rows in groups for row in rows))
    else:
        rows = select(store, view, wanted, limit=limit, seed=asked.seed, columns=columns)
        _print(shown, asked, rows)


def _print(shown: Shown, asked: argparse.Namespace, rows: Iterable[Row]) -> None:
    some = False
    for row in rows:
        some = True
        if asked.json:
            shown.json(row)
        else:
            shown.row(asked.step, row)
    if not some and not asked.json:
        shown.none()


def _store(run: str) -> Store:
    """A run by its folder or URI, or by the recipe that makes it."""
    if run.endswith((".yaml", ".yml")) and "://" not in run and Path(run).is_file():
        # Reading a recipe needs all that a recipe can name.
        from jobs.recipe_file import load
        from jobs.steps import store_of

        return store_of(load(run))
    return Store(run)


def _check(store: Store, step: str) -> None:
    """Raise Stop when a run, or what is asked for of it, is not there."""
    if files(store, VIEWS[step]):
        return
    there = steps_there(store)
    if not there and not store.exists("recipe.yaml"):
        raise Stop(f"no run at {store.root}: give a run's folder or URI (<storage>/<name>), or its recipe's .yaml file")
    what = f"there are {', '.join(there)}" if there else "no step of it has written rows yet"
    raise Stop(f"{store.root} has no {step}: {what}; jobs.{VIEWS[step].made_by} writes them, where its recipe asks so")


def _columns(store: Store, view: View, asked: str | None) -> list[str]:
    if asked is None:
        return view.columns
    there = store.columns(files(store, view)[0])
    columns = [name.strip() for name in asked.split(",") if name.strip()]
    for name in columns:
        if name not in there:
            raise Stop(f"--columns: there is no column {name!r}; there are {', '.join(there)}")
    return columns


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.look", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder or URI, such as runs/demo, or the recipe that makes it")
    parser.add_argument("step", choices=list(VIEWS), metavar="STEP", help=f"what to show: {', '.join(VIEWS)}")
    rows = parser.add_argument_group("which rows")
    rows.add_argument("--drop", metavar="REASON", help="those that fell out for this reason (of matches: this layer)")
    rows.add_argument("--keep", action="store_true", help="those that did not fall out")
    rows.add_argument("--source", help="those of this source")
    rows.add_argument("--id", metavar="PREFIX", help="those whose problem id begins so")
    rows.add_argument("--verdict", help="correct, wrong or undecided")
    rows.add_argument("--generation", help="those of this generation")
    rows.add_argument("--text", metavar="PATTERN", help="those with a text that this regular expression matches (RE2)")
    rows.add_argument("--limit", type=_count, default=5, metavar="N", help="so many of them (default 5; 0: all)")
    rows.add_argument("--seed", type=int, help="drawn at random, the same for the same seed; else the first")
    how = parser.add_argument_group("how")
    how.add_argument("--full", action="store_true", help="whole texts, not their beginnings")
    how.add_argument("--columns", metavar="A,B", help="these columns alone")
    how.add_argument("--json", action="store_true", help="one JSON object a line, whole texts, no funnel")
    return parser


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: 0 or more")
    return int(text)


if __name__ == "__main__":
    main()
