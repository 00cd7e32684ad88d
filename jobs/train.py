"""Train the student on the data set, phase by phase, with DeepSpeed ZeRO-3 on Ray Train, and export model/.

A phase that is done stays done as long as what it was made of is the same: another second phase leaves the first alone.
"""

import math
from collections.abc import Mapping
from typing import Any

from cluster.models import probe
from cluster.packs import PackMeta
from cluster.progress import watched
from cluster.session import session
from cluster.training.fit import fit
from cluster.training.plan import PhasePlan
from jobs.curate import known_size
from jobs.job import Job, Plan, Summary, main, number, previous, usd
from jobs.phases import Prepared, prepared
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline import lineage
from pipeline.store import Store


def plan(recipe: Recipe) -> Plan:
    """What would be trained, and what it would take."""
    settings = recipe.train
    least, most = settings.workers
    workers = f"{most}" if least == most else f"{least} to {most}"
    lines = [
        ("model", recipe.student.model),
        ("workers", f"{workers} x {settings.device}, ZeRO-3, {settings.dtype}"),
        ("step", f"{settings.batch_windows} windows of {number(settings.window)} tokens"),
    ]
    problems = known_size(recipe)
    ways = {generation.name: generation for generation in recipe.distill.generations}
    for phase in settings.phases:
        tokens = 0
        for name in phase.generations:
            generation = ways[name]
            kept = problems * generation.problems * min(recipe.choose.per_problem, generation.draws)
            examples = min(kept * recipe.estimate.correct, recipe.choose.target.rows or math.inf)
            length = recipe.estimate.trace_tokens or generation.sampling.max_tokens
            tokens += round(examples * (length + recipe.estimate.prompt_tokens))
        lines.append((f"phase {phase.name}", _phase_line(recipe, tokens * phase.epochs)))
    return lines


def work(recipe: Recipe) -> Summary:
    """Train, unless it is done."""
    steps = steps_of(recipe)
    if steps.train.state() == "done":
        return previous(recipe, "train")
    if any(phase.dataset is None for phase in recipe.train.phases):
        steps.train.needs(steps.choose)
    probe(recipe.student.model)
    store = store_of(recipe)
    with session(recipe.cluster):
        # All are packed before any is trained: what is wrong with the last one's data is known at once.
        phases = list(prepared(recipe))
        summaries = [_trained(recipe, phase) for phase in phases]
        steps.train.begin()
        store.copy_folder(phases[-1].export_to, "model", leave_out=frozenset({"step.json", "phase.json"}))
    return {"phases": summaries, "model": store.address("model")}


def _phase_line(recipe: Recipe, tokens: int) -> str:
    settings = recipe.train
    steps = math.ceil(tokens / (settings.window * settings.batch_windows))
    text = f"about {number(tokens)} tokens in {number(steps)} steps"
    if settings.tokens_per_s is None:
        return text
    hours = tokens / settings.tokens_per_s / 3600
    return f"{text}, {hours:,.1f} h, {usd(hours * settings.workers[1] * settings.usd_per_worker_hour)}"


def _trained(recipe: Recipe, phase: Prepared) -> dict[str, Any]:
    store, plan_ = store_of(recipe), phase.plan
    if lineage.state(store, phase.export_to, fingerprint=phase.fingerprint) != "done":
        with watched(f"{recipe.name} train", line=_live) as board:
            fit(plan_, name=phase.name, folder="checkpoints", board=board)
        store.write_json(f"{phase.export_to}/phase.json", _phase_summary(store, plan_, phase.meta))
        store.delete(f"{phase.export_to}/history.json")
        lineage.finish(store, phase.export_to, fingerprint=phase.fingerprint)
    summary: dict[str, Any] = store.read_json(f"{phase.export_to}/phase.json")
    return summary


def _phase_summary(store: Store, plan_: PhasePlan, meta: PackMeta) -> dict[str, Any]:
    history = store.read_json(f"{plan_.export_to}/history.json")
    tokens = sum(history["tokens"])
    return {
        "name": plan_.phase.name,
        "steps": len(history["loss"]),
        "examples": meta.examples,
        "left_out": dict(meta.left_out),
        "tokens": tokens,
        "trained_tokens": sum(history["trained"]),
        "padding_fraction": round(meta.padding_fraction, 5),
        "loss_first": history["loss"][0],
        "loss_last": history["loss"][-1],
        "validation": history["validation"],
        "skipped": history["skipped"],
        "tokens_per_s": round(tokens / sum(history["seconds"]), 1),
        "waited_fraction": round(sum(history["waited"]) / sum(history["seconds"]), 4),
        "resumed_at": history["resumed_at"],
        "ranks": history["ranks"],
        "losses": history["loss"],
        "windows": history["windows"],
    }


def _live(figures: Mapping[str, Any], seconds: float) -> str:
    if "step" not in figures:
        return f"opening the model ({seconds:,.0f} s)"
    return (
        f"{figures['phase']} step {figures['step']}/{figures['steps']}  loss {figures['loss']:.3f}  "
        f"{figures['tokens_per_s']:,.0f} tokens/s  {figures['seconds_left']:,.0f} s left"
    )


JOB = Job("train", __doc__ or "", plan, work, unshown=frozenset({"windows"}))

if __name__ == "__main__":
    main(JOB)
