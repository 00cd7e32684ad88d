"""The gate before training: what can't work is refused before a GPU is taken, and what may not be meant is said.

Everything comes in as plain values (`Given`), read by jobs.gate; nothing is opened here.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.training.architecture import LINEAR, Architecture
from pipeline.training.finding import Finding, refusal, warning
from pipeline.training.memory import GIB, best, choices, estimate, shares_heads
from pipeline.training.rendered import Rendered, TokenizerFacts
from pipeline.training.rope import context_of, doubts, what_to_set
from pipeline.training.settings import TrainSettings

_NO_BFLOAT16 = frozenset({"P100", "P4", "V100", "T4", "K80"})
_MOST_WASTED = 0.05


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """How much a phase trains on. `packed`: counted in its packs, else estimated; `longest` None is not known."""

    name: str
    windows: int
    num_tokens: int
    """Tokens of one epoch that are not padding."""
    steps: int
    epochs: int
    longest: int | None = None
    examples: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Examples that are in no window, by reason."""
    truncated: int = 0
    """Examples that were cut at a window's length."""
    packed: bool = False
    ends_at: int | None = None
    """Tokens of the whole phase, where it ends before its epochs do."""

    @property
    def all_tokens(self) -> int:
        """Tokens of the whole phase that are not padding."""
        return self.num_tokens * self.epochs if self.ends_at is None else self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """All that the gate knows. What could not be read is None or empty, and `unread` says why, a line each."""

    settings: TrainSettings
    model: str
    config: dict[str, Any] | None
    architecture: Architecture | None
    tokenizer: TokenizerFacts | None = None
    examples: tuple[Rendered, ...] = ()
    phases: tuple[PhaseFigures, ...] = ()
    unread: tuple[str, ...] = ()
    engine_tokens: int | None = None
    """student.engine.max_model_len: how long an answer vLLM may write."""
    measures_base: bool = False
    """Whether the model is run as it is before training, with that length."""
    has_flash: bool | None = None
    """Whether flash_attn is installed here."""
    accelerators: tuple[str, ...] = ()
    """The cluster's GPU types, as Ray names them."""
    cpus: float | None = None
    """Logical CPUs of all nodes that are there."""
    may_grow: bool = True
    """Whether nodes may come; none to a Ray that is started on this machine."""


def findings(given: Given) -> list[Finding]:
    """Everything that is wrong or doubtful, refusals first."""
    checks = (_tokenizer, _examples, _context, _phases, _ranks, _room, _attention, _lora, _dtype, _memory, _engine)
    found = [finding for check in checks for finding in check(given)]
    return sorted(found, key=lambda finding: finding.kind != "refusal")


def _tokenizer(given: Given) -> Iterator[Finding]:
    facts, model = given.tokenizer, given.model
    if facts is None:
        return
    if not facts.has_template:
        yield refusal(f"model {model} has no chat template: take its chat variant, or add one to its tokenizer")
    if facts.end_id is None:
        yield refusal(f"the tokenizer of {model} has no end token (eos_token), so nothing would teach to stop: set one")
    elif facts.pad_id == facts.end_id:
        harm = "padding would be read as the end, and other tools mask it (open-r1 issue 492)"
        yield refusal(f"the tokenizer of {model} pads with its end token {facts.end!r}: {harm}; set another pad_token")
    if facts.pad_id is None:
        yield warning(
            f"the tokenizer of {model} has no pad_token: set one in its tokenizer_config.json, not its end token"
        )
    if given.architecture is not None and facts.size > given.architecture.vocab:
        rows = f"{facts.size:,} tokens, the model's embedding {given.architecture.vocab:,} rows"
        yield refusal(f"the tokenizer of {model} has {rows}: take the tokenizer that belongs to it")
    if facts.drops_thought:
        yield warning(
            f"the chat template of {model} cuts thoughts out of replies; they are trained on as they are, "
            "but whoever sends answers back through the template loses their thoughts"
        )


def _examples(given: Given) -> Iterator[Finding]:
    for example in given.examples:
        yield from example.findings


def _context(given: Given) -> Iterator[Finding]:
    settings, model = given.settings, given.architecture
    if model is None or given.config is None:
        return
    yield from map(warning, doubts(given.config, settings.rope))
    context = context_of(model.positions, settings.rope)
    longest, what = longest_example(given)
    if longest > context:
        fix = what_to_set(longest, positions=model.positions, theta=model.theta)
        raised = "train.rope.positions" if settings.rope else f"the {model.positions:,} positions of {given.model}"
        yield refusal(f"{what} has {longest:,} tokens, more than {raised} ({context:,}): {fix}, or lower train.window")


def longest_example(given: Given) -> tuple[int, str]:
    """The most tokens that one example may have, and what says so; windows may be longer than the context."""
    window, known = given.settings.window, [phase.longest for phase in given.phases]
    if known and all(longest is not None for longest in known):
        # What is longer than a window is dropped or cut.
        return min(window, max(longest for longest in known if longest is not None)), "the longest example"
    return window, "train.window (the longest example is not known yet)"


def _phases(given: Given) -> Iterator[Finding]:
    settings = given.settings
    for phase, asked in zip(given.phases, settings.phases, strict=True):
        if phase.steps < 1:
            yield refusal(f"phase {phase.name} has no step to train: its generations or dataset hold no example")
            continue
        share = settings.warmup if asked.warmup is None else asked.warmup
        rising = math.ceil(share * phase.steps)
        if rising >= phase.steps > 1:
            fix = f"lower train.warmup ({share:g})"
            yield warning(
                f"phase {phase.name}: all of its {phase.steps} steps are warm-up, so its rate never falls: {fix}"
            )
        for reason, count in sorted(phase.left_out.items()):
            whole = "" if phase.examples is None else f" of {phase.examples + sum(phase.left_out.values()):,}"
            yield warning(f"phase {phase.name}: {count:,}{whole} examples are left out ({reason})")
        if phase.truncated:
            yield warning(
                f"phase {phase.name}: {phase.truncated:,} examples are cut at train.window, and lose their end"
            )


def _ranks(given: Given) -> Iterator[Finding]:
    settings, spread = given.settings, given.settings.sequence_parallel
    model = given.architecture
    if model is not None and not shares_heads(model, spread):
        fits = [str(n) for n in (2, 4, 8, 16, 32) if shares_heads(model, n)]
        share = f"can't share out the {model.heads} heads of {given.model}"
        yield refusal(f"train.sequence_parallel={spread} {share}: take one of {', '.join(['1', *fits])}")
    for ranks in sorted({count // spread for count in settings.workers}):
        windows, rounds = settings.batch_windows, math.ceil(settings.batch_windows / ranks)
        idle = 1 - windows / (rounds * ranks)
        if idle > _MOST_WASTED:
            right = (
                f"make it {rounds * ranks}" if rounds == 1 else f"make it {rounds * ranks} or {(rounds - 1) * ranks}"
            )
            groups = f"{ranks} ranks" if spread == 1 else f"{ranks} groups of {spread} ranks"
            waste = f"over {groups} leaves {idle:.0%} of the work idle"
            yield warning(f"train.batch_windows={windows} {waste} (the last round is not full): {right}")


def _room(given: Given) -> Iterator[Finding]:
    """On CPUs alone: with GPUs a machine that only plans has none of what will train."""
    settings, least = given.settings, given.settings.workers[0]
    needs = least * settings.cpus_per_worker
    if settings.device != "cpu" or given.cpus is None or needs <= given.cpus + 1e-6:
        return
    asked = f"train.workers={least} with train.cpus_per_worker={settings.cpus_per_worker:g} need {needs:g} CPUs"
    if given.may_grow:
        yield warning(f"{asked}, the cluster has {given.cpus:g} now: training waits until it has more")
    else:
        yield refusal(f"{asked}, Ray has {given.cpus:g} here: lower one of them, or raise cluster.local_cpus")


def _attention(given: Given) -> Iterator[Finding]:
    settings = given.settings
    if settings.attention == "flash_attention_2" and settings.device == "cpu":
        yield refusal("train.attention: flash_attention_2 needs a GPU: set train.attention=auto")
    elif settings.attention == "flash_attention_2" and given.has_flash is False:
        fix = "install flash-attn on every worker, or set train.attention=auto"
        yield warning(f"train.attention: flash_attention_2 is not installed on this machine: {fix}")


def _lora(given: Given) -> Iterator[Finding]:
    lora, model = given.settings.lora, given.architecture
    if lora is None or model is None or model.parameters is None:
        return
    for name in lora.targets:
        if name not in LINEAR:
            yield refusal(f"train.lora.targets: {given.model} has no layer {name!r}; there are {', '.join(LINEAR)}")
    least = min(min(shape) for shape in model.linear_shapes.values())
    if lora.rank >= least:
        yield refusal(
            f"train.lora.rank={lora.rank} is no low rank beside matrices of {least}: lower it, or drop train.lora"
        )


def _dtype(given: Given) -> Iterator[Finding]:
    settings = given.settings
    old = sorted(_NO_BFLOAT16 & set(given.accelerators))
    if settings.device == "gpu" and settings.dtype == "bfloat16" and old:
        fix = "set train.dtype=float32, or take GPUs of 2020 or later (A100, L4, H100 ...)"
        yield refusal(f"train.dtype: the cluster's {', '.join(old)} GPUs have no bfloat16: {fix}")
    if settings.device == "gpu" and settings.dtype == "float32":
        yield warning("train.dtype: float32 takes twice the memory of bfloat16 and several times its time")


def _memory(given: Given) -> Iterator[Finding]:
    settings, model = given.settings, given.architecture
    if model is None:
        return
    if model.parameters is None:
        counted = "only families whose layers are known here are counted"
        yield warning(f"the memory of {given.model} is not checked: its family is {model.family}, and {counted}")
        return
    ranks = settings.workers[0]
    needs = estimate(model, settings, ranks=ranks)
    if settings.device == "cpu":
        whole = (needs.total + needs.host) / GIB
        if whole > settings.host_memory_gib:
            yield warning(f"a worker needs about {whole:,.0f} GiB, train.host_memory_gib={settings.host_memory_gib:g}")
        return
    if needs.fits(settings):
        return
    room = settings.gpu_memory_gib
    if needs.total <= room * GIB and needs.host <= settings.host_memory_gib * GIB:
        near = f"about {needs.total / GIB:,.1f} of {room:g} GiB of a GPU"
        yield warning(f"a step takes {near}, and the estimate may be 10 % off: {_better(given, ranks)}")
    elif needs.total > room * GIB:
        yield refusal(f"a step needs about {needs.total / GIB:,.0f} GiB of a GPU's {room:g}: {_better(given, ranks)}")
    else:
        held = f"{needs.host / GIB:,.0f} GiB of the host's memory for each worker"
        has = f"train.host_memory_gib={settings.host_memory_gib:g}"
        yield refusal(f"what is offloaded needs about {held}, {has}: {_better(given, ranks)}")


def _better(given: Given, ranks: int) -> str:
    """What would fit."""
    settings, model = given.settings, given.architecture
    assert model is not None
    taken = best(list(choices(model, settings, ranks=ranks)))
    if taken is not None:
        needs = f"{taken.memory.total / GIB:,.0f} GiB"
        return f"set train.offload={taken.offload} train.sequence_parallel={taken.sequence_parallel} ({needs})"
    for more in (2 * ranks, 4 * ranks, 8 * ranks):
        if (taken := best(list(choices(model, settings, ranks=more)))) is not None:
            how = f"train.offload={taken.offload} train.sequence_parallel={taken.sequence_parallel}"
            return f"nothing fits on {ranks} workers; with train.workers={more} {how} does"
    return "nothing fits: take a smaller model, train.lora, a smaller train.window, or GPUs and hosts with more memory"


def _engine(given: Given) -> Iterator[Finding]:
    model, tokens = given.architecture, given.engine_tokens
    if model is None or tokens is None:
        return
    context = context_of(model.positions, given.settings.rope)
    # vLLM takes no max_model_len beyond the positions that a model's configuration states.
    if model.rope_type == "default" and given.measures_base and tokens > model.positions:
        refuses = f"vLLM refuses to run {given.model} untrained with student.engine.max_model_len={tokens}"
        fix = "measure only student (evaluate.models), or lower it for that run"
        yield warning(f"{refuses}: its configuration states {model.positions:,} positions; {fix}")
    scaled = given.settings.rope is not None and given.settings.rope.scaling is not None
    if model.rope_type == "default" and not scaled and tokens > context:
        yield refusal(
            f"student.engine.max_model_len={tokens} is more than the {context:,} positions of the trained model: "
            f"lower it, or set train.rope.positions={tokens}"
        )
