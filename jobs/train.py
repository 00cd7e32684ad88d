"""Train the student on the data set, phase by phase, with DeepSpeed ZeRO-3 on Ray Train, and export model/."""

import math
from collections.abc import Mapping
from typing import Any

from cluster.models import probe
from cluster.packs import PackMeta, make_packs, read_meta
from cluster.progress import watched
from cluster.session import session
from cluster.train import PhasePlan, fit, num_steps
from jobs.curate import known_size
from jobs.job import Job, Plan, Summary, main, number, previous, usd
from jobs.recipe import Recipe
from jobs.steps import Step, steps_of, store_of
from pipeline import lineage
from pipeline.store import Store


def plan(recipe: Recipe) -> Plan:
    """What would be trained, and what it would take."""
    settings = recipe.train
    lines = [
        ("model", recipe.student.model),
        ("workers", f"{settings.workers} x {settings.device}, ZeRO-3, {settings.dtype}"),
        ("step", f"{settings.batch_windows} windows of {number(settings.window)} tokens"),
    ]
    problems = known_size(recipe)
    most = {generation.name: generation for generation in recipe.distill.generations}
    for phase in settings.phases:
        tokens = 0
        for name in phase.generations:
            generation = most[name]
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
    steps.train.needs(steps.choose)
    probe(recipe.student.model)
    store = store_of(recipe)
    with session(recipe.cluster):
        phases = [_phase(recipe, steps.train, number) for number in range(len(recipe.train.phases))]
        steps.train.begin()
        last = _export_folder(recipe, steps.train, len(recipe.train.phases) - 1)
        store.copy_folder(last, "model", leave_out=frozenset({"step.json", "phase.json"}))
    return {"phases": phases, "model": store.address("model")}


def _phase_line(recipe: Recipe, tokens: int) -> str:
    settings = recipe.train
    steps = math.ceil(tokens / (settings.window * settings.batch_windows))
    text = f"about {number(tokens)} tokens in {number(steps)} steps"
    if settings.tokens_per_s is None:
        return text
    hours = tokens / settings.tokens_per_s / 3600
    return f"{text}, {hours:,.1f} h, {usd(hours * settings.workers * settings.usd_per_worker_hour)}"


def _export_folder(recipe: Recipe, step: Step, number: int) -> str:
    return f"checkpoints/{step.fingerprint[:12]}-{recipe.train.phases[number].name}/export"


def _phase(recipe: Recipe, step: Step, number: int) -> dict[str, Any]:
    store, phase = store_of(recipe), recipe.train.phases[number]
    before = store.address(_export_folder(recipe, step, number - 1)) if number else recipe.student.model
    export_to, packs = _export_folder(recipe, step, number), f"packs/{phase.name}"
    plan_ = PhasePlan(
        store=store,
        model=before,
        packs=packs,
        export_to=export_to,
        settings=recipe.train,
        phase=phase,
        seed=recipe.seed,
    )
    if lineage.state(store, export_to, fingerprint=step.fingerprint) != "done":
        meta = _packed(recipe, step, plan_)
        with watched(f"{recipe.name} train", line=_live) as board:
            fit(
                plan_,
                name=f"{step.fingerprint[:12]}-{phase.name}",
                storage=store.address("checkpoints"),
                board=board,
            )
        store.write_json(f"{export_to}/phase.json", _phase_summary(store, plan_, meta))
        store.delete(f"{export_to}/history.json")
        lineage.finish(store, export_to, fingerprint=step.fingerprint)
    summary: dict[str, Any] = store.read_json(f"{export_to}/phase.json")
    return summary


def _packed(recipe: Recipe, step: Step, plan_: PhasePlan) -> PackMeta:
    """The phase's windows; packed once, so that a resumed phase reads the very same ones."""
    fingerprint = f"{step.fingerprint}/{plan_.phase.name}"
    if lineage.state(plan_.store, plan_.packs, fingerprint=fingerprint) == "done":
        return read_meta(plan_.store, plan_.packs)
    meta = make_packs(
        store=plan_.store,
        folder=plan_.packs,
        generations=plan_.phase.generations,
        model=recipe.student.model,
        window=recipe.train.window,
        seed=recipe.seed,
        cpus=recipe.stream.verifier_cpus,
    )
    lineage.finish(plan_.store, plan_.packs, fingerprint=fingerprint)
    return meta


def _phase_summary(store: Store, plan_: PhasePlan, meta: PackMeta) -> dict[str, Any]:
    history = store.read_json(f"{plan_.export_to}/history.json")
    tokens = sum(history["tokens"])
    return {
        "name": plan_.phase.name,
        "steps": num_steps(plan_, windows=meta.windows),
        "examples": meta.examples,
        "too_long": meta.too_long,
        "tokens": tokens,
        "padding_fraction": round(meta.padding_fraction, 5),
        "loss_first": history["loss"][0],
        "loss_last": history["loss"][-1],
        "tokens_per_s": round(tokens / sum(history["seconds"]), 1),
        "resumed_at": history["resumed_at"],
        "losses": history["loss"],
    }


def _live(figures: Mapping[str, Any], seconds: float) -> str:
    if "step" not in figures:
        return f"opening the model ({seconds:,.0f} s)"
    return (
        f"{figures['phase']} step {figures['step']}/{figures['steps']}  loss {figures['loss']:.3f}  "
        f"{figures['tokens_per_s']:,.0f} tokens/s  {figures['seconds_left']:,.0f} s left"
    )


JOB = Job("train", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
