"""Train the student on the data set, phase by phase, with DeepSpeed ZeRO-3 on Ray Train, and export model/.

A phase that is done stays done as long as what it was made of is the same: another second phase leaves the first alone.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray

from cluster.models import probe
from cluster.packs import PackMeta
from cluster.placement import on
from cluster.progress import watched
from cluster.training.fit import fit, forget
from cluster.training.plan import OURS_ALONE, READINGS, RECORD, PhasePlan
from cluster.training.trackers import check_installed
from jobs.checkpoints import measured, watching
from jobs.gate import check_gate, gate_plan
from jobs.gate_figures import counted
from jobs.job import Job, Plan, Summary, main, previous
from jobs.outside import check_held_out
from jobs.phases import Prepared, prepared
from jobs.ready import connected
from jobs.recipe import Recipe
from jobs.steps import steps_of, store_of
from pipeline import lineage
from pipeline.model_card import write_card
from pipeline.store import Store

if TYPE_CHECKING:
    from cluster.training.opened import Opener


def plan(recipe: Recipe) -> Plan:
    """What would be trained and what it would take: the gate, refusals included."""
    gated = gate_plan(recipe)
    gated.show()
    gated.stop(shown=True)
    return gated.lines


def work(recipe: Recipe) -> Summary:
    """Train, unless it is done."""
    steps = steps_of(recipe)
    if steps.train.state() == "done":
        return previous(recipe, "train")
    if any(phase.dataset is None for phase in recipe.train.phases):
        steps.train.needs(steps.choose)
    check_held_out(recipe)
    probe(recipe.student.model)
    check_installed(recipe.train.watch)
    check_gate(recipe)
    store = store_of(recipe)
    with connected(recipe, "train"):
        # All are packed before any is trained: what is wrong with the last one's data is known at once.
        phases = list(prepared(recipe))
        check_gate(recipe, counted(phases)).warn()
        by = recipe.train.check_export
        # The next phase opens it as transformers does; vLLM is for what is used.
        to_go_on = [who for who in by if who == "transformers"]
        trained = [_trained(recipe, phase, by=to_go_on) for phase in phases[:-1]]
        trained.append(_trained(recipe, phases[-1], by=by))
        summary = {"phases": trained, "model": store.address("model")}
        steps.train.begin()
        # By a task: the driver may be far from where the weights lie.
        publish = ray.remote(num_cpus=recipe.stream.verifier_cpus, **on("cpu"))(_published)
        ray.get(publish.remote(store, phases[-1].export_to, with_adapter=_has_adapter(recipe)))
        opened = trained[-1]["opened"]
        # One that was trained to go on from may now be the last.
        left = [who for who in by if who not in opened]
        summary["opened"] = opened | _opened(recipe, store, phases[-1].export_to, by=left)
    write_card(store, trained=summary)
    _tell_left(store, {phase.name for phase in phases})
    return summary


def _tell_left(store: Store, mine: set[str]) -> None:
    """Say which checkpoints belong to no phase of this recipe: another one may still want to go on from them."""
    others = {name.split("/")[1] for name in store.names_below("checkpoints", "about.json")} - mine
    for name in sorted(others):
        where = store.address(f"checkpoints/{name}")
        print(f"{where} holds checkpoints of another recipe: delete it when nobody needs it", file=sys.stderr)


def _has_adapter(recipe: Recipe) -> bool:
    """Whether the last phase's additions are the whole difference to the base model."""
    return len(recipe.train.phases) == 1 and recipe.train.rope is None


def _published(store: Store, export: str, *, with_adapter: bool) -> None:
    store.copy_folder(export, "model", leave_out=OURS_ALONE)
    if with_adapter:
        store.copy_folder(f"{export}/adapter", "model/adapter")


def _opened(recipe: Recipe, store: Store, export: str, *, by: "Sequence[Opener]") -> dict[str, dict[str, float]]:
    """How much what others read in an export differs from what was trained."""
    if not by:
        return {}
    # Only now: they load torch.
    from cluster.training.opened import check_opened
    from cluster.training.readings import read_readings

    return check_opened(
        store,
        export,
        read_readings(store, f"{export}/{READINGS}"),
        eos=store.read_json(f"{export}/{RECORD}")["eos"],
        by=by,
        dtype=recipe.train.dtype,
        engine=recipe.student.engine,
    )


def _trained(recipe: Recipe, phase: Prepared, *, by: "Sequence[Opener]") -> dict[str, Any]:
    store, plan_ = store_of(recipe), phase.plan
    if lineage.state(store, phase.export_to, fingerprint=phase.fingerprint) != "done":
        with watching(recipe, plan_) as inbox:
            with watched(recipe.name, "train", line=_live) as board:
                fit(plan_, name=phase.name, folder="checkpoints", board=board, inbox=inbox)
            # While there are checkpoints to export it from again.
            opened = _opened(recipe, store, phase.export_to, by=by)
            # At once: what is left to be measured may take hours, and must not train anything again.
            figures = {**_phase_summary(store, plan_, phase.meta), "opened": opened}
            store.write_json(f"{phase.export_to}/phase.json", figures)
            lineage.finish(store, phase.export_to, fingerprint=phase.fingerprint)
    # Only now: without them a phase that is not finished would begin anew.
    forget(plan_, name=phase.name, folder="checkpoints")
    summary: dict[str, Any] = store.read_json(f"{phase.export_to}/phase.json")
    return {**summary, "evaluations": measured(recipe, plan_)}


def _phase_summary(store: Store, plan_: PhasePlan, meta: PackMeta) -> dict[str, Any]:
    history = store.read_json(f"{plan_.export_to}/{RECORD}")["history"]
    applied = [loss for step, loss in enumerate(history["loss"]) if str(step) not in history["skipped"]]
    tokens = sum(history["tokens"])
    return {
        "name": plan_.phase.name,
        "steps": len(history["loss"]),
        "examples": meta.examples,
        "left_out": dict(meta.left_out),
        "tokens": tokens,
        "trained_tokens": sum(history["trained"]),
        "padding_fraction": round(meta.padding_fraction, 5),
        "loss_first": applied[0] if applied else None,
        "loss_last": applied[-1] if applied else None,
        "validation": history["validation"],
        "skipped": history["skipped"],
        "tokens_per_s": round(tokens / sum(history["seconds"]), 1),
        "waited_fraction": round(sum(history["waited"]) / sum(history["seconds"]), 4),
        "resumed_at": history["resumed_at"],
        "ranks": history["ranks"],
        "losses": history["loss"],
    }


def _live(figures: Mapping[str, Any], seconds: float) -> str:
    if "step" not in figures:
        return f"waits for its workers, which then open the model ({seconds:,.0f} s)"
    return (
        f"{figures['phase']} step {figures['step']}/{figures['steps']}  loss {figures['loss']:.3f}  "
        f"{figures['tokens_per_s']:,.0f} tokens/s  {figures['seconds_left']:,.0f} s left"
    )


JOB = Job("train", __doc__ or "", plan, work)

if __name__ == "__main__":
    main(JOB)
