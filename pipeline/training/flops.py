"""How much arithmetic training on documents takes, and what GPUs can do: model FLOPs utilisation is their ratio.

As in PaLM (Chowdhery et al., 2204.02311, appendix B): what the model needs for one forward and one backward pass.
Work that is done twice to save memory (gradient checkpointing) is not counted, nor are norms, activations and the
optimizer. Unlike there, attention is counted as causal and inside each document, and the output layer only where there
is a loss: nothing else is computed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Dense bfloat16 tensor FLOP/s with float32 accumulation, from NVIDIA's data sheets and architecture white papers
# (those give most figures with sparsity, which is twice as much). The first entry whose words are all in the name wins.
_PEAKS: tuple[tuple[str, float], ...] = (
    ("GB200", 2500e12),
    ("B200", 2250e12),
    ("H200 NVL", 835.5e12),
    ("GH200", 989.4e12),
    ("H200", 989.4e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989.4e12),
    ("H800 PCIe", 756e12),
    ("H800", 989.4e12),
    ("H20", 148e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("A40", 149.7e12),
    ("A30", 165e12),
    ("A10", 125e12),
    ("L40S", 362.05e12),
    ("L40", 181.05e12),
    ("L4", 121e12),
    ("RTX 6000 Ada", 364.2e12),
    ("RTX A6000", 154.8e12),
    ("RTX 5090", 209.5e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs of a model's forward and backward pass; a multiplication and an addition are two."""

    token: float
    """For each token, in the matrices of the layers."""
    label: float
    """For each trained token, in the output layer."""
    pairs: tuple[tuple[int | None, float], ...]
    """For each pair of a query and a key that it sees, in the attention of all layers with this sliding window."""

    def of(self, lengths: Iterable[int], labels: int) -> float:
        """FLOPs for documents of these lengths with so many trained tokens."""
        held = [int(length) for length in lengths]
        attention = sum(each * seen(length, window) for window, each in self.pairs for length in held)
        return self.token * sum(held) + self.label * labels + attention


def seen(length: int, window: int | None) -> int:
    """Pairs of a query and a key that it sees in a causal document: itself and what is before, `window` in all."""
    if window is None or length <= window:
        return length * (length + 1) // 2
    return window * (window + 1) // 2 + (length - window) * window


def peak_flops(device: str) -> float | None:
    """The most dense bfloat16 FLOP/s of a GPU, by the name that its driver gives; None for one that is not known."""
    words = set(re.split(r"[^a-z0-9]+", device[:200].lower()))
    if "mig" in words:
        # A part of a GPU.
        return None
    return next((peak for name, peak in _PEAKS if words.issuperset(name.lower().split())), None)
