"""The end of a phase: what the trained model says to a few texts, its files, and the record of its steps."""

from dataclasses import asdict

import torch.distributed as dist

from cluster.packs import Windows
from cluster.training.export import eos_ids, export
from cluster.training.loop import Trained
from cluster.training.plan import READINGS, RECORD, PhasePlan
from cluster.training.probes import probes_of, trained_readings
from cluster.training.readings import write_readings
from cluster.training.zero import Opened
from pipeline.pack import end_of_turn


def finish(trained: Trained, plan: PhasePlan) -> None:
    """Export a trained phase, with what its files are compared with; every rank calls it, rank 0 writes."""
    folder = plan.export_to
    readings = trained_readings(trained.opened, trained.ranks, probes_of(Windows(plan.store, plan.packs)))
    eos = exported(plan, trained.opened, folder)
    if dist.get_rank() == 0:
        write_readings(plan.store, f"{folder}/{READINGS}", readings)
        record = {"history": asdict(trained.history), "eos": eos}
        plan.store.write_json(f"{folder}/{RECORD}", record)


def exported(plan: PhasePlan, model: Opened, folder: str) -> list[int]:
    """Write the model as it is now into a folder of the store, and give the tokens that end a reply; by every rank."""
    eos_id = end_of_turn(model.tokenizer)
    export(
        model.engine,
        model.tokenizer,
        store=plan.store,
        folder=folder,
        eos_id=eos_id,
        sampling=plan.sampling,
        base=plan.base,
    )
    return eos_ids(model.tokenizer, eos_id)
