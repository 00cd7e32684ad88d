"""What the card says of benchmarks and of near duplicates, in words where nothing was looked for."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.dataset.made import Made
from pipeline.dataset.markdown import flat, table, words
from pipeline.dataset.reasons import DUPLICATES, LAYERS

_COMPARED = ("in_benchmark", "benchmark_ngram", "benchmark_near")


def decontamination(run: Made) -> dict[str, Any]:
    """Which benchmarks were held out, how, and what matched."""
    if not run.benchmarks:
        said = (
            "No benchmark was named, so nothing was compared: **any benchmark's problems may be among these.** "
            "A score on one says little before you have looked."
        )
        return {"decontamination": Markup(said), "benchmarks": "", "matched": ""}
    off = [layer for layer in _COMPARED if not _asked(run, layer)]
    if len(off) == len(_COMPARED):
        only = "**Only traces were looked through for them; their problems may be among these.**"
        said = Markup(
            f"The benchmarks below are named, but for problems the recipe switches the comparison with them off. {only}"
        )
    else:
        overlap = _settings(run, "overlap")
        how = f" Settings: {overlap}." if overlap else ""
        but = f" Not looked for in problems: {', '.join(off)}." if off else ""
        compared = "Problems and traces were compared with the problems of the benchmarks below"
        said = words(f"{compared}, and those that match are left out.{but}{how}")
    return {"decontamination": said, "benchmarks": _benchmarks(run), "matched": _matched(run)}


def near_duplicates(run: Made) -> Markup:
    """What was found among the problems themselves."""
    dropped = run.curated.get("dropped") or {}
    near = _settings(run, "near")
    parts = []
    if not _asked(run, "near_duplicate"):
        parts.append(Markup("Problems were compared word for word only; near duplicates were not looked for."))
    else:
        settings = f" Settings: {near}." if near else ""
        parts.append(words(f"Near duplicates were looked for across all sources.{settings}"))
    clusters = run.curated.get("clusters") or run.curated.get("near")
    if isinstance(clusters, Mapping):
        said = ", ".join(f"{flat(key)} {_number(value)}" for key, value in clusters.items())
        parts.append(words(f"Clusters: {said}."))
    elif clusters:
        parts.append(words(f"Clusters of two or more problems: {_number(clusters)}."))
    rows = [(name, meaning, f"{dropped[name]:,}") for name, meaning in DUPLICATES.items() if dropped.get(name)]
    counted = table(("reason", "what it means", "rows dropped"), rows, right=2)
    return Markup(" ").join(parts) + (Markup(f"\n\n{counted}") if counted else Markup(""))


def _benchmarks(run: Made) -> Markup:
    counted = run.curated.get("benchmarks") or {}
    by_layer = run.curated.get("matches") or {}
    rows = []
    for name in run.benchmarks:
        counts = counted.get(name)
        read = counts.get("in") if isinstance(counts, Mapping) else counts
        found = by_layer.get(name) if isinstance(by_layer, Mapping) else None
        matches = sum(found.values()) if isinstance(found, Mapping) else found
        rows.append((name, _number(read), _number(matches)))
    head = ("benchmark", "problems", "rows that matched")
    return table(head, rows) if any(row[2] for row in rows) else table(head[:2], [row[:2] for row in rows])


def _matched(run: Made) -> Markup:
    """By layer: problems dropped in curate, traces left out in choose."""
    problems, traces = run.curated.get("dropped") or {}, run.chosen.get("dropped") or {}
    rows = [(name, LAYERS.get(name, ""), f"{problems.get(name, 0):,}", f"{traces.get(name, 0):,}") for name in LAYERS]
    return table(("layer", "what it means", "problems dropped", "traces left out"), rows, right=2)


def _asked(run: Made, rule: str) -> bool:
    """Whether the recipe asks a rule of problems; one that names no rules asks all of these."""
    rules = run.section("curate").get("rules")
    return rules is None or rule in rules


def _settings(run: Made, name: str) -> str | None:
    """A part of the recipe's curate section in one line; None where it is not there."""
    found = run.section("curate").get(name)
    if not found:
        return None
    if not isinstance(found, Mapping):
        return flat(found)
    return ", ".join(f"{key} {flat(value)}" for key, value in found.items() if value not in (None, [], {}))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else flat(value if value is not None else "")
