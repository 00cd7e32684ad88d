"""How the student is trained: the recipe's section `train`."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.settings import NAME, Settings

Schedule = Literal["cosine", "linear", "constant"]


def _phase_name(name: str) -> str:
    # No dots: NAME.validation is the folder of the windows that are held back.
    if not NAME.fullmatch(name) or "." in name:
        raise ValueError("must be letters, digits, dashes and underscores, a letter or digit first")
    return name


class Phase(Settings):
    """One pass of training, on its own part of the data set."""

    operational: ClassVar[frozenset[str]] = frozenset({"licence"})
    later: ClassVar[frozenset[str]] = frozenset({"dataset", "schedule", "warmup", "tokens"})

    name: Annotated[str, AfterValidator(_phase_name)]
    """What it is called in summaries and folders: letters, digits, dashes and underscores."""
    generations: tuple[str, ...] = ()
    """The generations whose chosen traces are trained on; with `dataset`, none means all of its rows."""
    dataset: str | None = None
    """A folder or URI with train-*.parquet files whose rows have `messages`; none is the run's own dataset/."""
    licence: str | None = None
    """Under what licence the rows of `dataset` are, told in the model's card; none is unknown."""
    epochs: int = Field(default=1, gt=0)
    """Passes over its windows."""
    tokens: int | None = Field(default=None, gt=0)
    """Trained tokens after which it ends, at the end of a step, within its epochs; none trains all of them."""
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; none takes train.lr."""
    schedule: Schedule | None = None
    """How the rate falls after warm-up; none takes train.schedule."""
    warmup: float | None = Field(default=None, ge=0, lt=1)
    """The share of the steps over which the rate rises; none takes train.warmup."""

    @model_validator(mode="after")
    def _has_rows(self) -> "Phase":
        if not self.generations and self.dataset is None:
            raise ValueError(f"phase {self.name} trains on nothing: name its generations, or a dataset")
        return self


class LoraSettings(Settings):
    """Train low-rank additions to the linear layers instead of all weights (Hu et al., 2106.09685)."""

    rank: int = Field(default=16, gt=0)
    """The rank of each addition."""
    alpha: float = Field(default=32.0, gt=0)
    """Additions are scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an addition's inputs that is dropped in training."""
    targets: tuple[str, ...] = ()
    """The last parts of the names of the layers that get one; none: every linear layer but the head."""


class RopeSettings(Settings):
    """A longer context than the base model was made for; written into the config of what is exported."""

    theta: float | None = Field(default=None, gt=0)
    """The base of the rotary embedding, such as 300000 (open-r1's for Qwen2.5-Math); none keeps the model's."""
    scaling: dict[str, float | int | str] | None = None
    """transformers' rope parameters, such as {rope_type: yarn, factor: 8.0}; none keeps the model's."""
    positions: int = Field(gt=0)
    """The longest context afterwards, tokens: max_position_embeddings."""


class GuardSettings(Settings):
    """What is done about steps that would do harm: they are not applied, and counted."""

    spike: float = Field(default=8.0, gt=1)
    """A step is skipped whose gradient norm is above train.clip and so many times the median of the last steps."""
    loss_spike: float = Field(default=1.5, gt=0)
    """A step is skipped whose loss is so many nats above the median of the last `median_of`."""
    median_of: int = Field(default=32, gt=1)
    """Steps that the medians are of; before there are so many, only what is not finite is skipped."""
    most_skipped: int = Field(default=5, ge=0)
    """Skipped steps in a row after which training stops, with the batch written to be looked at."""


class WandbSettings(Settings):
    """Figures to Weights & Biases; the key comes from where wandb looks for it."""

    project: str
    """The project's name."""
    entity: str | None = None
    """The team or user; none is the key's own."""


class MlflowSettings(Settings):
    """Figures to MLflow."""

    uri: str
    """The tracking server's URI, or a database's, such as sqlite:///mlflow.db."""
    experiment: str
    """The experiment's name."""


class WatchSettings(Settings):
    """What is measured while training goes on, and where the figures go besides Ray's metrics and events.jsonl."""

    validate_steps: int | None = Field(default=None, gt=0)
    """Optimizer steps between losses over dataset/validation-*.parquet; none: only after the last step."""
    evaluate_steps: int | None = Field(default=None, gt=0)
    """Optimizer steps between models that are measured on evaluate.benchmarks meanwhile, elsewhere; none: never."""
    evaluate_draws: int = Field(default=1, gt=0)
    """Answers for each problem when a checkpoint is measured."""
    evaluate_waiting: int = Field(default=4, gt=0)
    """Checkpoints that may wait to be measured, each the size of the model; of more, the oldest are given up."""
    tensorboard: bool = True
    """Write TensorBoard's event files beside the checkpoints."""
    wandb: WandbSettings | None = None
    """Weights & Biases too."""
    mlflow: MlflowSettings | None = None
    """MLflow too."""


def _pair(value: object) -> object:
    """Ranks as they are written: 8, or [4, 8]."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


class TrainSettings(Settings):
    """How the student is trained."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"device", "workers", "cpus_per_worker", "checkpoint_steps", "checkpoints_kept", "max_failures"}
        | {"loss_chunk", "gradient_checkpointing", "attention", "tokens_per_s", "usd_per_worker_hour"}
        | {"sequence_parallel", "offload", "gpu_memory_gib", "host_memory_gib", "watch", "check_export"}
    )
    later: ClassVar[frozenset[str]] = frozenset({"seed", "too_long", "lora", "rope", "guard"})

    phases: tuple[Phase, ...] = Field(min_length=1)
    """The phases, in order; each starts from the model of the one before."""
    seed: int | None = Field(default=None, ge=0)
    """The seed of packing and of the order of windows; none takes the recipe's."""
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate."""
    schedule: Schedule = "cosine"
    """How the rate falls after warm-up: to 10 % of the peak, to 0, or not."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """The share of the steps over which the rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's, on matrices only."""
    clip: float = Field(default=1.0, gt=0)
    """The most the gradient's norm may be."""
    window: int = Field(default=32768, gt=1)
    """Tokens of a packed window, one of which is a micro-batch of a rank (of `sequence_parallel` ranks together)."""
    too_long: Literal["drop", "truncate"] = "drop"
    """What becomes of an example longer than a window: left out and counted, or cut at its end (with no end token)."""
    batch_windows: int = Field(default=8, gt=0)
    """Windows of one optimizer step, over all workers, however many there are."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """The type of weights and activations; the optimizer's copy is float32."""
    lora: LoraSettings | None = None
    """Train low-rank additions, which are merged into what is exported; none trains all weights."""
    rope: RopeSettings | None = None
    """Extend the base model's context; none keeps it."""
    guard: GuardSettings = GuardSettings()
    """What is done about steps that would do harm."""
    device: Literal["cpu", "gpu"] = "gpu"
    """What it runs on."""
    workers: Annotated[tuple[int, int], BeforeValidator(_pair)] = (8, 8)
    """Ranks, one GPU each, or one process each on CPUs: a number, or [min, max] for as many as there are."""
    cpus_per_worker: float = Field(default=4.0, gt=0)
    """Logical CPUs of a worker in Ray."""
    sequence_parallel: int = Field(default=1, gt=0)
    """Ranks that share each window (Ulysses, 2309.14509), for windows that one GPU can't hold; it divides the ranks."""
    attention: Literal["auto", "sdpa", "flash_attention_2"] = "auto"
    """auto takes flash_attention_2 where it is installed and the device has it, sdpa elsewhere."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, a third more work."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """Keep the optimizer's state, or the weights too, in the host's memory."""
    loss_chunk: int = Field(default=4096, gt=0)
    """Positions whose logits exist at once."""
    checkpoint_steps: int = Field(default=50, gt=0)
    """Optimizer steps between checkpoints."""
    checkpoints_kept: int = Field(default=2, gt=0)
    """Checkpoints kept."""
    max_failures: int = Field(default=3, ge=0)
    """Lost workers that are replaced before the phase gives up; nodes taken back by their owner do not count."""
    watch: WatchSettings = WatchSettings()
    """What is measured on the way."""
    check_export: tuple[Literal["transformers", "vllm"], ...] = ("transformers", "vllm")
    """Who must open model/ and give the trained model's logits before training counts as done."""
    gpu_memory_gib: float = Field(default=80.0, gt=0)
    """Memory of a worker's GPU, GiB, that the gate reckons with."""
    host_memory_gib: float = Field(default=200.0, gt=0)
    """Host memory for a worker, GiB, that the gate reckons with where something is offloaded."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """What all workers together are expected to do; --dry-run estimates hours from it."""
    usd_per_worker_hour: float = Field(default=0.0, ge=0)
    """The price of a worker's GPU for an hour; --dry-run estimates cost from it."""

    @model_validator(mode="after")
    def _ranks(self) -> "TrainSettings":
        least, most = self.workers
        if not 0 < least <= most:
            raise ValueError(f"workers: [{least}, {most}] must be [min, max] with 1 or more, the smaller first")
        if self.sequence_parallel > 1 and (least < most or least % self.sequence_parallel):
            raise ValueError(f"workers: sequence_parallel={self.sequence_parallel} needs a fixed multiple of it")
        if self.window % self.sequence_parallel:
            raise ValueError(f"window: {self.window} tokens can't be split over {self.sequence_parallel} ranks")
        return self

    def peak_lr(self, phase: Phase) -> float:
        """A phase's learning rate after warm-up."""
        return phase.lr or self.lr
