"""A longer context than the model was made for: what its configuration must say, and what counts as too long.

The rotary embedding turns pairs of a head's d numbers by position x theta^(-2i/d) (RoFormer, 2104.09864). A larger
theta turns the slow pairs more slowly, so that far positions look like near ones did ("adjusted base frequency",
2309.16039); scaling divides frequencies (linear: 2306.15595; yarn: 2309.00071).
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.errors import Stop
from pipeline.training.architecture import rope_parameters
from pipeline.training.settings import RopeSettings

_NEEDS = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
_KNOWS_ITS_ORIGIN = frozenset({"yarn", "llama3"})
_OPEN_R1_THETA, _OPEN_R1_POSITIONS = 300_000, 32_768
_SHRINKS = 4.0
"""Linear scaling by more than this is warned of: by 8 a 7B model wrote garbage (open-r1 issue 444)."""


def extended(config: Mapping[str, Any], settings: RopeSettings | None) -> dict[str, Any]:
    """A transformers configuration (as to_dict() gives it) with the recipe's longer context; a new dict.

    Its rope_parameters replace rope_theta and rope_scaling of older configurations. Raises Stop where the model has
    several rotary embeddings, or the scaling lacks what it needs.
    """
    changed = dict(config)
    if settings is None:
        return changed
    before = rope_parameters(config)
    if any(isinstance(value, Mapping) for value in before.values()):
        raise Stop("train.rope: this model has a rotary embedding for each kind of layer; leave train.rope out")
    rope = _scaled(settings, before=before, positions=int(config["max_position_embeddings"]))
    if settings.theta is not None:
        rope["rope_theta"] = float(settings.theta)
    for old in ("rope_theta", "rope_scaling"):
        changed.pop(old, None)
    changed["rope_parameters"] = rope
    changed["max_position_embeddings"] = settings.positions
    return changed


def context_of(positions: int, settings: RopeSettings | None) -> int:
    """The longest example that the model will have been made for, tokens."""
    return positions if settings is None else settings.positions


def what_to_set(tokens: int, *, positions: int, theta: float) -> str:
    """The recipe's line that makes room for so many tokens in a model of so many positions."""
    wanted = 1 << (tokens - 1).bit_length()
    if theta < _OPEN_R1_THETA and wanted <= _OPEN_R1_POSITIONS:
        return f"set train.rope: {{theta: {_OPEN_R1_THETA}, positions: {wanted}}} (open-r1's base for Qwen2.5-Math)"
    factor = math.ceil(wanted / positions)
    return f"set train.rope: {{scaling: {{rope_type: yarn, factor: {factor}.0}}, positions: {wanted}}}"


def doubts(config: Mapping[str, Any], settings: RopeSettings | None) -> list[str]:
    """What may go wrong with the recipe's longer context."""
    if settings is None:
        return []
    positions, said = int(config["max_position_embeddings"]), []
    kind, factor = _kind(settings.scaling or {}), (settings.scaling or {}).get("factor")
    if settings.positions < positions:
        said.append(f"train.rope.positions={settings.positions} is less than the model's own {positions}")
    if settings.positions > positions and settings.theta is None and settings.scaling is None:
        nothing = "nothing makes far positions look like near ones"
        said.append(
            f"train.rope raises {positions} positions to {settings.positions}, but {nothing}: set theta or scaling"
        )
    if kind == "linear" and isinstance(factor, int | float) and factor > _SHRINKS:
        fix = "theta (300000 was open-r1's) or yarn did better"
        said.append(f"train.rope.scaling: linear by {factor:g} was reported to give garbage (open-r1 issue 444): {fix}")
    if kind != "default" and isinstance(factor, int | float) and factor * positions < settings.positions:
        right = f"{settings.positions / positions:g} or more"
        said.append(
            f"train.rope.scaling.factor={factor:g} reaches {factor * positions:,.0f} positions: make it {right}"
        )
    return said


def _scaled(settings: RopeSettings, *, before: dict[str, Any], positions: int) -> dict[str, Any]:
    if settings.scaling is None:
        return {**before, "rope_type": before.get("rope_type", "default")}
    kind = _kind(settings.scaling)
    if kind not in _NEEDS:
        raise Stop(f"train.rope.scaling.rope_type={kind!r} is not known; there are {', '.join(_NEEDS)}")
    for name in _NEEDS[kind]:
        if name not in settings.scaling:
            raise Stop(f"train.rope.scaling: {kind} needs {name}, such as {{rope_type: {kind}, factor: 8.0}}")
    rope: dict[str, Any] = {name: value for name, value in settings.scaling.items() if name != "type"}
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in before:
            rope.setdefault(name, before[name])
    rope["rope_type"] = kind
    if "factor" in rope:
        rope["factor"] = float(rope["factor"])
    if kind in _KNOWS_ITS_ORIGIN:
        # What the frequencies were trained for; transformers would take the raised positions for it.
        rope.setdefault("original_max_position_embeddings", before.get("original_max_position_embeddings", positions))
    return rope


def _kind(scaling: Mapping[str, Any]) -> str:
    return str(scaling.get("rope_type") or scaling.get("type") or "default")
