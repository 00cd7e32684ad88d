"""Score replies that someone else wrote: every row with its verdict, what was found and why; and the metrics.

FILE is JSON Lines (.jsonl, .ndjson, also .gz) or Parquet; so is OUT, by its name. Every row of FILE is in OUT, in
order, with three fields more:
  verdict   correct, wrong or undecided (undecided: it could not be told, and counts as neither)
  found     the final answer taken out of the reply, after its thought; null where there is none
  why       the rule that decided, or why none could
A row that can't be judged (no reply, no gold answer, an unknown kind) is undecided and says so. A line that is no JSON
ends the job with its number. OUT appears when all is done, and replaces a file of that name.

A reply may be a text, chat messages (the last of the assistant counts) or a list of either: several draws, for which
verdict, found and why are lists too. Field names may be nested: response.text, choices.0.message.content.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from pipeline.errors import BadRecipe, Stop
from pipeline.foreign.in_order import Workers
from pipeline.foreign.processes import Processes, cores
from pipeline.foreign.replies import KINDS, ReplyFields
from pipeline.foreign.reply_files import STDOUT, check_paths, format_of
from pipeline.foreign.score_file import called, check_fields, score_file
from pipeline.foreign.scorer import ScoreSettings
from pipeline.scores.judgements import Judgements
from pipeline.verify import Verifier, VerifySettings

_FIELDS = ("prompt", "reply", "answer", "kind", "finish", "id", "tokens")
_EVERY_S = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Score a file; exits 0 only when all rows are written, 2 for wrong options, 1 otherwise."""
    asked = _parser().parse_args(arguments)
    try:
        settings = _settings(asked)
        check_paths(asked.file, asked.out)
        if asked.json and not Path(asked.json).absolute().parent.is_dir():
            raise BadRecipe(f"--json {asked.json}: the folder {Path(asked.json).absolute().parent} is not there")
        named = frozenset(name for name in _FIELDS if getattr(asked, f"{name}_field") is not None)
        check_fields(asked.file, settings.fields, asked=named, replace=settings.replace)
        metrics, short = _score(asked, settings)
        if asked.json:
            Path(asked.json).write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2) + b"\n")
        _show(metrics, to_stderr=asked.out == STDOUT)
        if short is not None:
            raise Stop(short)
    except (Stop, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)
    except KeyboardInterrupt:
        print(f"error: interrupted; {asked.out} was not written", file=sys.stderr, flush=True)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="the replies: .jsonl, .jsonl.gz or .parquet")
    parser.add_argument("--out", required=True, help="where the rows go: .jsonl, .jsonl.gz, .parquet, or - for stdout")
    for name in _FIELDS:
        field = ReplyFields.model_fields[name]
        parser.add_argument(f"--{name}-field", metavar="NAME", help=f"{field.description} (default: {field.default})")
    parser.add_argument("--kind", choices=KINDS, default="math", help="of rows that name none (default: math)")
    parser.add_argument("--answer-regex", metavar="RE", help=ReplyFields.model_fields["answer_regex"].description)
    parser.add_argument(
        "--k",
        type=_ks,
        metavar="K,K",
        help="print pass@k and maj@k for these; every problem must have so many draws (default: powers of two)",
    )
    parser.add_argument(
        "--overwrite-columns",
        action="store_true",
        help="drop FILE's own verdict, found and why (else kept as why_before ...)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the metrics there too")
    parser.add_argument("--workers", type=int, help="processes that judge (default: the CPUs this process may use)")
    for name, kind in (("timeout_s", float), ("memory_mb", int)):
        about = VerifySettings.model_fields[name]
        words = f"{about.description} (default: {about.default:g})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=about.default, help=words)
    parser.add_argument("--address", help="judge on this Ray cluster instead (auto: the one that runs here)")
    return parser


def _ks(text: str) -> list[int]:
    values = [int(part) for part in text.split(",") if part.strip().isdigit()]
    if not values or min(values) < 1 or len(values) < len(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers with commas between them, such as 1,4,8")
    return values


def _settings(asked: argparse.Namespace) -> ScoreSettings:
    names = {name: value for name in _FIELDS if (value := getattr(asked, f"{name}_field")) is not None}
    if asked.workers is not None and asked.workers < 1:
        raise BadRecipe(f"--workers {asked.workers}: give at least 1")
    try:
        return ScoreSettings(
            fields=ReplyFields(**names, default_kind=asked.kind, answer_regex=asked.answer_regex),
            verify=VerifySettings(timeout_s=asked.timeout_s, memory_mb=asked.memory_mb, judges=1),
            out=format_of(asked.out),
            replace=asked.overwrite_columns,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise BadRecipe(f"--{option} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from error


def _score(asked: argparse.Namespace, settings: ScoreSettings) -> tuple[dict[str, Any], str | None]:
    """The metrics, with every k that the draws allow; and what to say of one that they don't."""
    started = time.monotonic()
    with _workers(asked, settings) as workers, _progress(asked.file) as show:
        judgements = score_file(asked.file, asked.out, settings.fields, workers, show, replace=settings.replace)
        seconds = time.monotonic() - started
        with Verifier(settings.verify.model_copy(update={"judges": cores()})) as verifier:
            judgements.vote(verifier)
        problem, draws = judgements.fewest()
        metrics = judgements.metrics([k for k in asked.k or () if k <= draws]) | {
            "seconds": round(seconds, 2),
            "rows_per_s": round(judgements.rows / seconds, 1),
            "workers": workers.count,
        }
    impossible = sorted({k for k in asked.k or () if k > draws})
    return metrics, _short(asked, settings, impossible, problem, draws) if impossible else None


def _short(asked: argparse.Namespace, settings: ScoreSettings, ks: Sequence[int], problem: int, draws: int) -> str:
    have = f"{called(asked.file, settings.fields, problem)} of {asked.file} has {draws}"
    out = "standard output" if asked.out == STDOUT else asked.out
    more = f" (and {', '.join(f'pass@{k}' for k in ks[1:])} more)" if ks[1:] else ""
    return f"pass@{ks[0]} needs {ks[0]} draws a problem{more}; {have}; {out} was written, with all rows"


@contextlib.contextmanager
def _workers(asked: argparse.Namespace, settings: ScoreSettings) -> Iterator[Workers]:
    if asked.address is None:
        with Processes(settings, asked.workers or cores()) as processes:
            yield processes
        return
    # Ray takes seconds to import, and most runs of this job want none of it.
    from cluster.score import Actors
    from cluster.session import ClusterSettings, session

    with session(ClusterSettings(address=asked.address)), Actors(settings, asked.workers) as actors:
        yield actors


@contextlib.contextmanager
def _progress(path: str) -> Iterator[Any]:
    """A line on stderr that goes on, where a person watches."""
    started = last = time.monotonic()

    def show(judgements: Judgements) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY_S:
            last = now
            speed = judgements.rows / (now - started)
            print(f"\r\033[K{path}: {judgements.rows:,} rows, {speed:,.0f} rows/s", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _show(metrics: dict[str, Any], *, to_stderr: bool) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, value in metrics.items():
        if name != "reasons" and value != {}:
            table.add_row(name, _said(name, value))
    for verdict, reasons in metrics["reasons"].items():
        for why, times in reasons.items():
            table.add_row(f"{verdict}: {times:,}", why)
    Console(file=stream, width=None if stream.isatty() else 140, markup=False, highlight=False).print(table)


def _said(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_said(key, item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(_said(name, item) for item in value)}]"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) <= 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    # Ended by a scheduler as by Ctrl-C: what was begun is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
