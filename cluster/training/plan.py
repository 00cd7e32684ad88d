"""What a phase's ranks must know, and what they keep of it: plain values that travel to workers and in checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.store import Store
from pipeline.training.schedule import Schedule
from pipeline.training.settings import Phase, TrainSettings

READINGS = "readings.json"
RECORD = "record.json"
OURS_ALONE = frozenset({READINGS, RECORD, "step.json", "phase.json"})
"""What lies beside an exported model and is no part of it."""


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """One phase of training."""

    store: Store
    model: str
    """Where the model lies that it starts from: a folder, a URI or a name."""
    identity: str
    """What its checkpoints belong to: model, data and settings; no other phase goes on from them."""
    packs: str
    """The folder of its windows in the store."""
    validation: str | None
    """The folder of the windows that are held back; none has none."""
    export_to: str
    """The folder that the trained model is written to."""
    settings: TrainSettings
    phase: Phase
    seed: int
    base: str | None = None
    """The name of the model that the first phase starts from."""
    extends: bool = False
    """Whether it starts from a model whose context is still to be extended as settings.rope says."""
    sampling: Mapping[str, Any] | None = None
    """How the trained model is to be sampled, for its generation config."""

    def schedule(self, *, num_labels: tuple[int, ...], num_tokens: tuple[int, ...]) -> Schedule:
        """Its steps over windows with so many trained and real tokens."""
        return Schedule(self.settings, self.phase, self.seed, num_labels, num_tokens)


@dataclass
class History:
    """Every step so far; it travels in the checkpoint, so a resumed phase has its whole curve."""

    loss: list[float] = field(default_factory=list)
    """Mean over the trained tokens of the step."""
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    """Before clipping."""
    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    """Seconds of the step in which the slowest rank waited for its windows."""
    tokens: list[int] = field(default_factory=list)
    """Real ones, without padding."""
    trained: list[int] = field(default_factory=list)
    """Tokens that had a loss."""
    windows: list[list[int]] = field(default_factory=list)
    """The windows that the ranks did train on, told by them."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Step -> why it was not applied."""
    validation: dict[str, float] = field(default_factory=dict)
    """Steps done -> mean loss over the windows that are held back."""
    resumed_at: list[int] = field(default_factory=list)
    ranks: dict[str, int] = field(default_factory=dict)
    """Step -> ranks from there on."""

    @property
    def done(self) -> int:
        """Steps done."""
        return len(self.loss)
