"""What one training worker does: open its share of the model, step through its windows, save, export."""

import tempfile
from dataclasses import asdict, dataclass, field
from typing import Any

import deepspeed
import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import HfDeepSpeedConfig

from cluster.models import local_path
from cluster.packs import Windows
from cluster.session import cores
from cluster.train import PhasePlan, Step, now, num_steps, steps
from cluster.zero import LossModel, decayed, export, zero3
from pipeline.pack import IGNORED, end_of_turn

_TAG = "state"
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass
class History:
    """Every step so far; it travels in the checkpoint, so a resumed phase has its whole curve."""

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)


def work(config: dict[str, Any]) -> None:
    """Ray Train's worker function; config holds `plan` and `board`."""
    plan: PhasePlan = config["plan"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    if plan.settings.device == "cpu":
        torch.set_num_threads(max(1, cores() // context.get_local_world_size()))
    windows = Windows(plan.store, plan.packs)
    engine, tokenizer = _open(plan)
    history = _resume(engine)
    total = num_steps(plan, windows=windows.meta.windows)
    for step in steps(plan, num_labels=windows.meta.num_labels, num_tokens=windows.meta.num_tokens, rank=rank):
        if step.number < len(history.loss):
            continue
        _record(history, step, *_train_step(engine, step, windows, plan))
        if rank == 0:
            _tell(config["board"], plan, history, total)
        if step.number + 1 == total:
            break
        if (step.number + 1) % plan.settings.checkpoint_steps == 0:
            _save(engine, history)
    export(engine, tokenizer, store=plan.store, folder=plan.export_to, eos_id=end_of_turn(tokenizer))
    if rank == 0:
        plan.store.write_json(f"{plan.export_to}/history.json", asdict(history))
    # Nobody leaves before rank 0 has written the model: Ray would take the group down around it.
    dist.barrier()


def _open(plan: PhasePlan) -> tuple[Any, Any]:
    settings = plan.settings
    path = local_path(plan.model)
    ds_config = zero3(dtype=settings.dtype, accumulation=plan.accumulation, clip=settings.clip)
    # Alive while the model is read: it makes transformers shard each weight as it is read.
    sharding = HfDeepSpeedConfig(ds_config)
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=_DTYPES[settings.dtype], attn_implementation=settings.attention
    )
    del sharding
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    loss_model = LossModel(model, chunks=-(-settings.window // settings.loss_chunk))
    optimizer = torch.optim.AdamW(
        decayed(loss_model, weight_decay=settings.weight_decay), lr=plan.peak_lr, betas=(0.9, 0.95), eps=1e-8
    )
    engine, *_ = deepspeed.initialize(model=loss_model, optimizer=optimizer, config=ds_config)
    return engine, AutoTokenizer.from_pretrained(path)


def _train_step(engine: Any, step: Step, windows: Windows, plan: PhasePlan) -> tuple[float, float, float]:
    started = now()
    for group in engine.optimizer.param_groups:
        group["lr"] = step.lr
    world = dist.get_world_size()
    summed = torch.zeros((), dtype=torch.float32, device=engine.device)
    for window in step.windows:
        loss = engine(*_tensors(windows, window, engine.device))
        summed += loss.detach()
        # DeepSpeed takes the mean over ranks and micro-steps; what is wanted is the mean over trained tokens.
        engine.backward(loss * (world * plan.accumulation / step.num_labels))
        engine.step()
    dist.all_reduce(summed)
    norm = engine.get_global_grad_norm()
    return float(summed) / step.num_labels, float(norm) if norm is not None else 0.0, now() - started


def _tensors(windows: Windows, number: int | None, device: torch.device) -> tuple[torch.Tensor, ...]:
    held = windows[0 if number is None else number]
    ids, labels, positions = (torch.tensor([held[name]], device=device) for name in ("ids", "labels", "positions"))
    if number is None:
        # A rank without a window still takes part in every collective; it must add nothing.
        labels = torch.full_like(labels, IGNORED)
    return ids, labels, positions


def _record(history: History, step: Step, loss: float, norm: float, seconds: float) -> None:
    history.loss.append(loss)
    history.lr.append(step.lr)
    history.grad_norm.append(norm)
    history.seconds.append(seconds)
    history.tokens.append(step.num_tokens)


def _tell(board: Any, plan: PhasePlan, history: History, total: int) -> None:
    if board is not None:
        board.set.remote(
            {
                "phase": plan.phase.name,
                "step": len(history.loss),
                "steps": total,
                "loss": history.loss[-1],
                "tokens_per_s": history.tokens[-1] / history.seconds[-1],
                "seconds_left": (total - len(history.loss)) * sum(history.seconds[-20:]) / len(history.seconds[-20:]),
            }
        )


def _save(engine: Any, history: History) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine.save_checkpoint(folder, tag=_TAG, client_state={"history": asdict(history)})
        ray.train.report({"loss": history.loss[-1]}, checkpoint=Checkpoint.from_directory(folder))


def _resume(engine: Any) -> History:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return History()
    with checkpoint.as_directory() as folder:
        _, state = engine.load_checkpoint(folder, tag=_TAG)
    history = History(**state["history"])
    history.resumed_at.append(len(history.loss))
    return history
