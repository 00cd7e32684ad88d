"""What the card says, section by section: figures put into tables and words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from pipeline.dataset.decontaminated import decontamination, near_duplicates
from pipeline.dataset.licences import is_unknown, on_hub
from pipeline.dataset.made import Made
from pipeline.dataset.markdown import code, flat, plain, table
from pipeline.dataset.reasons import REASONS
from pipeline.dataset.stages import Stage
from pipeline.dataset.statistics import PERCENTILES, Statistics
from pipeline.dataset.terms import terms_of

_MOST_VALUES = 25
_DIFFICULTY = ("engine", "prompt", "draws", "above", "below")
_TITLES = {
    "source": "By source",
    "subject": "By subject",
    "level": "By level",
    "generation": "By generation",
    "kind": "By kind of answer",
    "language": "By language",
    "verdict": "By verdict",
}
_COLUMNS = {
    "messages": "what is trained on: `role` and `content`; a thought stands between `<think>` and `</think>`",
    "problem_id": "the hash of the problem's text; the examples of a problem share it",
    "cluster": "shared by all problems that say the same; no cluster is in two splits",
    "source": "where the problem comes from",
    "row": "the source's own name for its row",
    "subject": "the source's own word for what it is about",
    "level": "the source's own word for how hard it is",
    "licence": "the licence of the problem",
    "kind": "how answers are compared",
    "answer": "the known answer",
    "language": "the language of the text",
    "pass_rate": "share of correct draws of the model that difficulty was measured with",
    "pass_draws": "how many draws that was",
    "generation": "which of the recipe's ways of asking it comes from",
    "engine": "who wrote it: model @ who serves it",
    "draw": "number of the draw for this problem",
    "verdict": "what verifying the answer came to",
    "found": "the answer that was found in the reply",
    "finish_reason": "how the answer ended",
    "thought_tokens": "tokens of the thought, as the engine counts",
    "reply_tokens": "tokens of the reply, as the engine counts",
    "tokens": "tokens of both, as the engine counts",
    "student_tokens": "tokens of both, as the student's tokenizer counts",
    "agreement": "share of the draws for this problem that gave the same answer",
    "cost_usd": "what this answer was billed, USD",
    "ledger_key": "its key in the run's ledger of bought answers",
}


def about(run: Made, found: Statistics) -> dict[str, Any]:
    """The head: one sentence, what to look out for, and the figures at a glance."""
    what = f"{found.examples:,} examples ({found.tokens:,} tokens) for {found.problems:,} problems"
    splits = ", ".join(f"{split} {count:,}" for split, count in found.splits.items()) or "none"
    overview = [
        ("examples", splits),
        ("problems", f"{found.problems:,}"),
        ("tokens", f"{found.tokens:,}"),
        ("preference pairs", f"{found.pairs:,}" if found.pairs else "none"),
        ("written by", ", ".join(flat(engine, most=80) for engine in sorted(found.counts["engine"])) or "none"),
        ("licences of the problems", ", ".join(sorted(found.counts["licence"] or set(run.licences.values())))),
    ]
    return {
        "pitch": f"{what}: written by a model, verified against known answers, chosen.",
        "overview": overview,
    } | {"warnings": list(_warnings(run, found))}


def contents(run: Made, found: Statistics, funnel: Sequence[Stage]) -> dict[str, Any]:
    """Columns, funnel, statistics, difficulty and cost."""
    counts = [
        (title, _shares(title.removeprefix("By "), found, name))
        for name, title in _TITLES.items()
        if len(found.counts[name]) > 1 or (found.counts[name] and name == "source")
    ]
    bands = [(band, f"{count:,}", _percent(count, len(found.pass_rates))) for band, count in found.bands()]
    known = [(name, Markup(_COLUMNS.get(name, ""))) for name in run.columns]
    return {
        "columns": table(("column", "what it is"), known, right=9),
        "funnel": _funnel(funnel),
        "verdicts": _verdicts(run.distilled),
        "lengths": _lengths(found),
        "lengths_note": Markup(
            "How long the examples are, in tokens as the engine that wrote them counts (percentiles):"
        ),
        "counts": counts,
        "difficulty": _difficulty(run, found),
        "bands": table(("pass rate", "examples", "share"), bands),
        "cost": _cost(run, found),
        "window": Markup(_window(found)),
    }


def origins(run: Made, found: Statistics) -> dict[str, Any]:
    """Sources and licences, the teacher's terms, decontamination, near duplicates, limits."""
    unknown = [name for name, licence in run.licences.items() if is_unknown(licence)]
    note = Markup(
        "The problems are under the licences of their sources; the answers were written by the engines below."
    )
    if unknown:
        names = ", ".join(map(plain, unknown))
        note += Markup(f" **Nothing is known of the licence of {names}: find out before you share or use these rows.**")
    return {
        "licence_note": note,
        "sources": _sources(run, found),
        "terms": _terms(found),
        **decontamination(run),
        "near": near_duplicates(run),
        "limits": list(_limits(run, found)),
    }


def again(run: Made) -> dict[str, Any]:
    """What it takes to make it again."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return {
        "commit": run.commit,
        "versions": versions,
        "seed": run.recipe.get("seed", 0),
        "recipe": code(run.deciding, language="yaml"),
    }


def _warnings(run: Made, found: Statistics) -> Iterator[str]:
    if not found.examples:
        yield "this data set is empty: the funnel below shows why."
    for name, licence in run.licences.items():
        if is_unknown(licence):
            yield f"the licence of source {flat(name)} is unknown."
    if not run.benchmarks:
        yield "no benchmark was held out: nothing is known of what these problems share with any."


def _funnel(funnel: Sequence[Stage]) -> Markup:
    rows: list[tuple[object, ...]] = []
    for stage in funnel:
        rows.append((stage.step, Markup(f"**{stage.comes}**"), f"{stage.came:,}", "100.0 %", ""))
        for name, count in stage.dropped.items():
            rows.append(("", name, f"{-count:,}", _percent(count, stage.came), REASONS.get(name, "")))
        if stage.lost:
            share = _percent(stage.lost, stage.came)
            rows.append(("", Markup("*no reason was kept*"), f"{-stage.lost:,}", share, ""))
        rows.append(("", Markup(f"**{stage.stays}**"), f"{stage.kept:,}", _percent(stage.kept, stage.came), ""))
    return table(("step", "what", "rows", "share of the step", "what it means"), rows, right=2, left=4)


def _verdicts(distilled: Mapping[str, Any]) -> str:
    verdicts, traces = distilled.get("verdicts") or {}, distilled.get("traces") or 0
    if not traces:
        return ""
    problems = int(distilled.get("problems", 0))
    said = ", ".join(f"{count:,} {name} ({_percent(count, traces)})" for name, count in verdicts.items())
    unasked = distilled.get("no_solution") or {}
    left = "".join(
        f" {flat(generation)} left out {count:,} problems without a worked solution, which it shows."
        for generation, count in unasked.items()
    )
    return f"There are {traces:,} traces of {problems:,} problems; verifying them came to {said}.{left}"


def _lengths(found: Statistics) -> Markup:
    kinds = [
        ("thought", "thought"),
        ("reply", "reply"),
        ("thought and reply", "both"),
        ("in student tokens", "student"),
    ]
    rows = [(label, *(f"{value:,}" for value in found.percentiles(name))) for label, name in kinds]
    heads = ("", *(f"{share} %" for share in PERCENTILES))
    return table(heads, [row for row in rows if len(row) == len(heads)])


def _shares(head: str, found: Statistics, name: str) -> Markup:
    """Values by number of examples, the rarest together; with tokens where they are known."""
    counts = sorted(found.counts[name].items(), key=lambda item: (-item[1], item[0]))
    shown, rest = counts[:_MOST_VALUES], counts[_MOST_VALUES:]
    without = found.examples - sum(count for _, count in counts)
    lines: list[tuple[object, int]] = [(value or "(empty)", count) for value, count in shown]
    if rest:
        lines.append((Markup(f"*{len(rest):,} others*"), sum(count for _, count in rest)))
    if without > 0:
        lines.append((Markup("*not said*"), without))
    rows = [(value, f"{count:,}", _percent(count, found.examples)) for value, count in lines]
    if name != "source":
        return table((head, "examples", "share"), rows)
    tokens = [f"{found.tokens_by_source[value]:,}" if isinstance(value, str) else "" for value, _ in lines]
    return table((head, "examples", "share", "tokens"), [(*row, n) for row, n in zip(rows, tokens, strict=True)])


def _difficulty(run: Made, found: Statistics) -> str:
    settings = run.section("difficulty")
    without = (run.curated.get("difficulty") or {}).get("unmeasured")
    if not len(found.pass_rates) and not without:
        return "Not measured: no model's pass rate on these problems was taken."
    by = ""
    if settings:
        said = ", ".join(f"{key} {flat(settings[key])}" for key in _DIFFICULTY if settings.get(key) is not None)
        by = f" Settings: {said}."
    measured = f"{len(found.pass_rates):,} of {found.examples:,} examples have one"
    if without:
        done = "dropped" if settings.get("unmeasured") == "drop" else "kept"
        by = f" No draw of {without:,} problems could be judged; these were {done}.{by}"
    return f"The pass rate of a problem is the share of a model's draws that were verified as correct; {measured}.{by}"


def _cost(run: Made, found: Statistics) -> str:
    total = run.distilled.get("cost_total_usd")
    if total is not None:
        total += run.curated.get("cost_total_usd") or 0.0
    if total is None:
        return "Not known: the run kept no sum."
    if not run.priced and not total:
        return "Not known: the recipe names no prices for the teacher's tokens."
    each = f", which is ${1000 * total / found.examples:,.4f} for 1,000 examples" if found.examples else ""
    own = f"The answers that were chosen were billed ${found.cost_usd:,.4f} of it."
    made_up = " The prices are made up." if run.standin else ""
    asked = "All answers, right and wrong, and those that rated or compared problems,"
    return f"{asked} were billed ${total:,.4f} (USD) in all{each}. {own}{made_up}"


def _sources(run: Made, found: Statistics) -> Markup:
    read = run.curated.get("sources") or {}
    rows = []
    for source in run.sources:
        name, licence = str(source.get("name")), str(source.get("licence") or "unknown")
        known = Markup("**unknown: find out**") if is_unknown(licence) else plain(licence)
        rows.append(
            (
                name,
                _place(source),
                Markup(f"{known} (`{on_hub(licence)}` on the Hub)") if not is_unknown(licence) else known,
                f"{read[name]:,}" if isinstance(read.get(name), int) else "",
                f"{found.counts['source'][name]:,}",
            )
        )
    return table(("source", "from", "licence", "rows read", "examples"), rows, right=3)


def _place(source: Mapping[str, Any]) -> str:
    """Where a source was read, as others can find it."""
    form, path = source.get("format"), str(source.get("path") or "")
    if form == "hf":
        revision = source.get("revision")
        parts = [path, source.get("config"), source.get("split"), f"commit {revision}" if revision else "not pinned"]
        return "Hugging Face: " + ", ".join(str(part) for part in parts if part)
    if form == "reasoning_gym":
        return f"reasoning-gym: {source.get('task')}, {source.get('size')} problems, seed {source.get('seed', 0)}"
    return f"a file: {PurePath(path).name}"


def _terms(found: Statistics) -> Markup:
    rows = []
    for engine, examples in sorted(found.counts["engine"].items()):
        rows.append((engine, f"{examples:,}", _known(engine)))
    return table(("engine", "examples", "what is known"), rows, right=9) or Markup("No engine is named in the rows.")


def _known(engine: str) -> Markup:
    if " @ stand-in/" in engine:
        return Markup(
            "the stand-in that ships with Longthought: no model was asked. Recorded answers are under the terms of "
            "whoever recorded them"
        )
    known = [f"{terms.provider}: {terms.what} ([read them]({terms.link}))" for terms in terms_of(engine)]
    return Markup("; ".join(known) or "nothing: read the terms of who serves it, and the licence of its weights")


def _window(found: Statistics) -> str:
    """A length that nearly every example fits into, prompt and template included."""
    longest = (found.percentiles("student") or found.percentiles("both") or [2048])[-1]
    return str(next((size for size in (1024, 2048, 4096, 8192, 16384, 32768) if longest + 512 <= size), 65536))


def _limits(run: Made, found: Statistics) -> Iterator[str]:
    yield (
        "Only the final answer was verified. A thought may reach a right answer by a wrong way, and a source's known "
        "answer may itself be wrong."
    )
    if found.without_thought:
        share = _percent(found.without_thought, found.examples)
        yield f"{found.without_thought:,} of the examples ({share}) have no thought, only a reply."
    yield "Problems that the teacher did not solve are missing, so hard ones are rarer than in the sources."
    if run.benchmarks:
        yield "Held out are the benchmarks named above; what is in others is not known."
    yield "The examples carry the teacher's mistakes and leanings, and the sources' subjects and language."
    if found.counts["kind"]["code"]:
        yield "Programs in replies were run against tests, not read for safety."


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f} %" if whole else ""
