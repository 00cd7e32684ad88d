"""Memory of a training step under ZeRO-3, reckoned before anything starts: bytes on each GPU, and in its host.

N parameters on R ranks, T tokens of a rank (window / sequence_parallel), h hidden, L layers
  states       16-bit weights 2N/R; gradients added up in float32 4N/R; float32 weights and Adam's moments 12N/R
               (ZeRO, 1910.02054, section 3.1, has 2 + 2 + 12 with 16-bit gradients; DeepSpeed's
               estimate_zero3_model_states_mem_needs has 18N/R, which is these three)
  whole layers what ZeRO-3 gathers: stage3_max_live_parameters numbers and a prefetch bucket of 16 bits, and a layer's
               gradients before they are reduced
  activations  with gradient checkpointing L inputs of 2hT bytes and one layer's inside; without, every layer's inside
               (Korthikanti et al., 2205.05198, section 4, reckoned anew for these layers: see `layer_bytes`)
  head         a chunk's logits in float32 twice, the head's weights, and their gradient in float32 (see `_head`)
  other        what CUDA, NCCL and cuBLAS take, and a share that PyTorch's allocator can't use; ours, a guess
A step has two peaks: the backward pass (of the loss or of a layer), and the optimizer's step, without activations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.training.architecture import LINEAR, Architecture
from pipeline.training.settings import LoraSettings, TrainSettings

GIB = 1 << 30
_LIVE = 1_000_000_000
"""DeepSpeed's stage3_max_live_parameters and sub_group_size, both 1e9 by default."""
_BUCKET = 50_000_000
"""stage3_prefetch_bucket_size and reduce_bucket_size, numbers (cluster.training.zero)."""
_CUDA_BYTES = 2 * GIB
_UNUSABLE = 0.10
"""The share of a GPU that is left free: fragments, and what was not thought of."""
_HOST_BUFFERS = 1.5
"""DeepSpeed's additional_buffer_factor: pinned copies are larger than what they hold."""
OFFLOADS = ("none", "optimizer", "all")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU by what takes them, and in the host for this rank.

    `kept` is what the forward pass leaves for the backward pass; `layer` and `head` are what a layer's and the loss's
    backward pass take beside it; `stepping` is what the optimizer's step takes when all of that is gone.
    """

    weights: int
    gradients: int
    optimizer: int
    kept: int
    layer: int
    head: int
    stepping: int
    other: int
    host: int

    @property
    def states(self) -> int:
        """What stays from step to step."""
        return self.weights + self.gradients + self.optimizer

    @property
    def working(self) -> int:
        """The larger of the step's two peaks."""
        return max(self.kept + max(self.layer, self.head), self.stepping)

    @property
    def total(self) -> int:
        """All of a GPU's at the worst moment."""
        return self.states + self.other + self.working

    def fits_gpu(self, settings: TrainSettings) -> bool:
        """Whether a GPU can hold it."""
        return self.total <= settings.gpu_memory_gib * GIB * (1 - _UNUSABLE)

    def fits(self, settings: TrainSettings) -> bool:
        """Whether a GPU, and its share of the host, can hold it."""
        return self.fits_gpu(settings) and self.host <= settings.host_memory_gib * GIB


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to share a model out, and what it takes."""

    ranks: int
    offload: str
    sequence_parallel: int
    memory: Memory
    fits: bool
    fits_gpu: bool


def estimate(model: Architecture, settings: TrainSettings, *, ranks: int) -> Memory:
    """What a step takes on each of so many ranks. The model's parameters must be known."""
    assert model.parameters is not None, "only a known family's memory can be reckoned"
    width = 2 if settings.dtype == "bfloat16" else 4
    trained = trained_parameters(model, settings.lora)
    share, trained_share = model.parameters / ranks, trained / ranks
    weights = width * share + (width * trained_share if settings.lora else 0)
    gradients, optimizer = 4 * trained_share, 12 * trained_share
    host = 0.0
    if settings.offload != "none":
        host += gradients + optimizer
        gradients = optimizer = 0
    if settings.offload == "all":
        host += weights
        weights = 0
    tokens = settings.window // settings.sequence_parallel
    inside = tokens * _inside(model, settings, width=width)
    layers = model.layers if not settings.gradient_checkpointing else 0
    return Memory(
        weights=round(weights),
        gradients=round(gradients),
        optimizer=round(optimizer),
        kept=layers * inside or model.layers * tokens * width * model.hidden,
        # Beside a layer's activations the gradients of its widest part.
        layer=(0 if layers else inside) + 3 * width * model.intermediate * tokens + _gathered(model, settings, width),
        head=_head(model, settings, tokens=tokens, width=width),
        # A sub-group's gradients are copied into one piece, and clipped; the fused AdamW needs no more.
        stepping=0 if settings.offload != "none" else round(8 * min(_LIVE, trained_share)),
        other=_CUDA_BYTES if settings.device == "gpu" else 0,
        host=round(_HOST_BUFFERS * host),
    )


def _inside(model: Architecture, settings: TrainSettings, *, width: int) -> int:
    """A layer's bytes for a token of a rank."""
    # What attention gives is joined from its documents, or comes back from other ranks, as a second copy.
    inside = layer_bytes(model, width=width) + width * model.heads * model.head_dim
    if model.kv_heads % settings.sequence_parallel:
        # Each query head takes its own copy of keys and values.
        inside += 2 * width * (model.heads - model.kv_heads) * model.head_dim
    return inside


def layer_bytes(model: Architecture, *, width: int) -> int:
    """Bytes for a token that a decoder layer keeps for its backward pass, with fused attention (no T x T matrix).

    Two norms: the input in float32, normed, weighted, and the root (in float32 normed and input need no copy of their
    own type); queries, keys, values, what attention gives and its log-sums; the gate, its activation, the other half,
    and their product.
    """
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    norms = 2 * ((4 + 2 * width) * model.hidden + 4)
    if model.head_norms:
        norms += (4 + width) * (queries + keys) + 4 * (model.heads + model.kv_heads)
    attention = width * (2 * queries + 2 * keys) + 4 * model.heads
    return norms + attention + 4 * width * model.intermediate


def trained_parameters(model: Architecture, lora: LoraSettings | None) -> int:
    """How many numbers are trained: all, or those of the low-rank additions."""
    assert model.parameters is not None
    if lora is None:
        return model.parameters
    shapes = [model.linear_shapes[name] for name in lora.targets or LINEAR if name in model.linear_shapes]
    return model.layers * sum(lora.rank * (into + out) for into, out in shapes)


def choices(
    model: Architecture, settings: TrainSettings, *, ranks: int, spreads: Sequence[int] = (1, 2, 4, 8)
) -> Iterator[Choice]:
    """Every offload and sequence_parallel on so many ranks, the fastest first.

    Offloading waits for the host's memory in every layer or step; sharing a window only exchanges activations.
    """
    for offload in OFFLOADS:
        for spread in spreads:
            if ranks % spread or settings.window % spread or not shares_heads(model, spread):
                continue
            changed = {"offload": offload, "sequence_parallel": spread, "workers": (ranks, ranks)}
            asked = settings.model_copy(update=changed)
            memory = estimate(model, asked, ranks=ranks)
            yield Choice(ranks, offload, spread, memory, memory.fits(asked), memory.fits_gpu(asked))


def best(found: Sequence[Choice]) -> Choice | None:
    """The first that fits."""
    return next((choice for choice in found if choice.fits), None)


def shares_heads(model: Architecture, ranks: int) -> bool:
    """Whether so many ranks can share a window: each takes as many heads."""
    return model.heads % ranks == 0


def _gathered(model: Architecture, settings: TrainSettings, width: int) -> int:
    """Whole layers' weights, and the gradients of one before they are reduced."""
    assert model.parameters is not None
    assert model.layer_parameters is not None
    live = width * min(model.parameters, max(_LIVE, model.layer_parameters) + _BUCKET)
    return live + (0 if settings.lora else width * (model.layer_parameters + 2 * _BUCKET))


def _head(model: Architecture, settings: TrainSettings, *, tokens: int, width: int) -> int:
    """What the loss takes: on the way forward a chunk's logits, on the way back the weights' gradient as it is scaled.

    The head's gradient is added up in float32; a chunk's part of it has the model's type (cluster.training.loss).
    """
    hidden = 2 * width * tokens * model.hidden
    chunk = 8 * min(settings.loss_chunk, tokens) * model.vocab
    if settings.lora:
        return hidden + chunk + width * model.embedding
    forward = chunk + (2 * width + 4) * model.embedding
    return hidden + max(forward, (2 * width + 8) * model.embedding)
