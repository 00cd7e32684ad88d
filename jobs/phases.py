"""The phases of a recipe's training: what each is made of, its windows, and where its model goes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.models import absolute, identity
from cluster.packs import PackMeta, make_packs
from cluster.training.plan import PhasePlan
from jobs.outside import held_against, held_out_index
from jobs.recipe import Recipe
from jobs.steps import stamp, steps_of, store_of
from pipeline.settings import fingerprint
from pipeline.store import Store
from pipeline.training.settings import Phase


@dataclass(frozen=True, slots=True)
class Prepared:
    """A phase that is ready to be trained."""

    plan: PhasePlan
    meta: PackMeta
    fingerprint: str

    @property
    def export_to(self) -> str:
        """The folder of its model."""
        return self.plan.export_to

    @property
    def name(self) -> str:
        """The folder of its checkpoints, below checkpoints/."""
        return _folder(self.plan.phase, self.fingerprint)


def prepared(recipe: Recipe) -> Iterator[Prepared]:
    """Every phase with its windows, in order; windows that are there are kept."""
    before, start = identity(recipe.student.model), absolute(recipe.student.model)
    first = start
    store = store_of(recipe)
    for phase in recipe.train.phases:
        data, held = _data(recipe, phase), held_against(recipe, phase)
        asked = recipe.train.model_copy(update={"phases": (phase,)})
        packed_of = fingerprint(data, *held) if held else data
        meta = _packed(recipe, phase, "train", packed_of)
        if meta is None:
            raise AssertionError("packing for training gives windows or stops")
        # Another benchmark packs anew, and trains anew only where it takes other rows away.
        rows = [data, meta.left_out_rows] if held else [data]
        made_of = fingerprint("phase", before, *rows, asked, recipe.training_seed)
        export_to = f"checkpoints/{_folder(phase, made_of)}/export"
        plan = PhasePlan(
            store=store,
            model=start,
            identity=made_of,
            packs=f"packs/{phase.name}",
            validation=f"packs/{phase.name}.validation" if _packed(recipe, phase, "validation", packed_of) else None,
            export_to=export_to,
            settings=recipe.train,
            phase=phase,
            seed=recipe.training_seed,
            base=recipe.student.model,
            extends=recipe.train.rope is not None and start == first,
            sampling=_sampling(recipe),
        )
        yield Prepared(plan, meta, made_of)
        before, start = made_of, store.address(export_to)


def _folder(phase: Phase, made_of: str) -> str:
    return f"{made_of[:12]}-{phase.name}"


def _sampling(recipe: Recipe) -> dict[str, Any]:
    """How the trained model is measured is how it is to be used."""
    asked = recipe.evaluate.sampling
    return {"temperature": asked.temperature, "top_p": asked.top_p, "max_tokens": asked.max_tokens}


def _data(recipe: Recipe, phase: Phase) -> str:
    """What a phase's windows are made of."""
    rows = steps_of(recipe).choose.fingerprint if phase.dataset is None else stamp(phase.dataset)
    settings = recipe.train
    parts = (phase.generations, identity(recipe.student.model), settings.window, settings.too_long)
    return fingerprint("packs", rows, *parts, recipe.training_seed)


def _packed(recipe: Recipe, phase: Phase, split: str, data: str) -> PackMeta | None:
    store = store_of(recipe)
    return make_packs(
        store=store,
        folder=f"packs/{phase.name}" if split == "train" else f"packs/{phase.name}.{split}",
        source=(store, "dataset") if phase.dataset is None else (Store(phase.dataset), ""),
        generations=phase.generations,
        split=split,
        model=recipe.student.model,
        window=recipe.train.window,
        too_long=recipe.train.too_long,
        seed=recipe.training_seed,
        cpus=recipe.stream.verifier_cpus,
        made_of=data,
        held_out=lambda: held_out_index(recipe, phase),
    )
