"""The gate's page in a terminal: what is trained on, what it takes, and what stands in the way."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.job import Plan, number, usd
from jobs.shown import safe
from pipeline.training.finding import Finding
from pipeline.training.gate import Given, PhaseFigures, longest_example
from pipeline.training.memory import GIB, OFFLOADS, Choice, best, choices, estimate, trained_parameters
from pipeline.training.rendered import Rendered
from pipeline.training.rope import context_of

_WIDTH = 140
_HEAD_CHARS, _TAIL_CHARS = 500, 200
_TRAINED = "black on green"


def lines_of(given: Given) -> Plan:
    """The plan's lines: model, context, ranks, memory, and each phase with its time and cost."""
    settings = given.settings
    least, most = settings.workers
    workers = f"{least}" if least == most else f"{least} to {most}"
    step = f"{settings.batch_windows} windows of {number(settings.window)} tokens"
    return [
        ("model", _model(given)),
        ("context", _context(given)),
        ("workers", f"{workers} x {settings.device}, ZeRO-3, {settings.dtype}{_sharing(given)}"),
        ("step", f"{step}: {number(settings.batch_windows * settings.window)} tokens{_rounds(given)}"),
        ("memory", _memory(given)),
        *((f"phase {phase.name}", _phase(given, phase)) for phase in given.phases),
        *(("not read", line) for line in given.unread),
    ]


def print_page(given: Given, found: Sequence[Finding]) -> None:
    """Print examples, the memory table, and what was found."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, highlight=False, emoji=False)
    for example in given.examples:
        _print_example(console, example)
    if not given.examples:
        why = "dataset/ is not made yet, or can't be read" if given.tokenizer else "the model's tokenizer is not read"
        console.print(f"no example to show: {why}")
    if given.architecture is not None and given.architecture.parameters is not None and given.settings.device == "gpu":
        console.print()
        console.print(_memory_table(given))
    console.print()
    for finding in found:
        refused = finding.kind == "refusal"
        console.print(
            Text("refused  " if refused else "warning  ", "bold red" if refused else "yellow") + safe(finding.text)
        )
    if not any(finding.kind == "refusal" for finding in found):
        known = "of what can be known yet, " if given.unread or not given.examples else ""
        console.print(Text(f"the gate is open: {known}nothing stands in the way of training", "green"))


def _print_example(console: Console, example: Rendered) -> None:
    console.print()
    title = f"example {safe(example.name)}: {example.num_tokens:,} tokens, {example.num_labels:,} of them trained on"
    console.rule(Text(title), align="left", style="dim", characters="-")
    shown = Text()
    for text, trained in example.spans:
        cut = safe(text if len(text) <= _HEAD_CHARS + _TAIL_CHARS else _shortened(text))
        if not trained:
            shown.append(cut)
        else:
            shown.append(cut if console.is_terminal else f"[[{cut}]]", _TRAINED)
    console.print(shown)


def _shortened(text: str) -> str:
    """A text's beginning and end: the end token must be seen."""
    left = len(text) - _HEAD_CHARS - _TAIL_CHARS
    return f"{text[:_HEAD_CHARS]} ... ({left:,} characters) ... {text[-_TAIL_CHARS:]}"


def _model(given: Given) -> str:
    model = given.architecture
    if model is None:
        return given.model
    if model.parameters is None:
        return f"{given.model}, a {model.family}, whose parameters can't be counted here"
    lora = given.settings.lora
    trained = "all trained" if lora is None else f"{number(trained_parameters(model, lora))} trained (LoRA)"
    return f"{given.model}: {number(model.parameters)} parameters, {trained}"


def _context(given: Given) -> str:
    model, rope = given.architecture, given.settings.rope
    longest, what = longest_example(given)
    text = f"{number(longest)} tokens at most ({what})"
    if model is None:
        return text
    own = f"the model's own positions: {number(model.positions)}, theta {model.theta:,.0f}"
    if rope is None:
        return f"{text}; {own}"
    theta = "" if rope.theta is None else f", theta {rope.theta:,.0f}"
    scaling = "" if rope.scaling is None else f", {rope.scaling}"
    return f"{text}; extended to {number(context_of(model.positions, rope))}{theta}{scaling} ({own})"


def _sharing(given: Given) -> str:
    settings = given.settings
    spread = settings.sequence_parallel
    shared = "" if spread == 1 else f", {spread} ranks share a window"
    return f"{shared}, offload {settings.offload}"


def _rounds(given: Given) -> str:
    ranks = given.settings.workers[0] // given.settings.sequence_parallel
    rounds = -(-given.settings.batch_windows // ranks)
    return f", {rounds} micro-step{'s' if rounds > 1 else ''} of each of {ranks} ranks"


def _memory(given: Given) -> str:
    settings, model = given.settings, given.architecture
    if model is None or model.parameters is None:
        return "not known"
    needs = estimate(model, settings, ranks=settings.workers[0])
    parts = f"states {_gib(needs.states)} and, not all at once, kept activations {_gib(needs.kept)}"
    parts += f", a layer {_gib(needs.layer)}"
    parts += f", the loss {_gib(needs.head)}, the optimizer's step {_gib(needs.stepping)}"
    if settings.device == "cpu":
        return f"about {_gib(needs.total + needs.host)} GiB a worker: {parts}"
    host = f", {_gib(needs.host)} GiB of its host" if needs.host else ""
    parts += f", CUDA {_gib(needs.other)}"
    return f"about {_gib(needs.total)} of {settings.gpu_memory_gib:g} GiB of a GPU{host}: {parts}"


def _phase(given: Given, phase: PhaseFigures) -> str:
    settings, total = given.settings, phase.all_tokens
    text = f"{'' if phase.packed else 'about '}{number(total)} tokens in {number(phase.steps)} steps"
    if settings.tokens_per_s is None:
        return f"{text}; set train.tokens_per_s for its time and cost"
    hours = total / settings.tokens_per_s / 3600
    cost = usd(hours * settings.workers[1] * settings.usd_per_worker_hour)
    return f"{text}, {hours:,.1f} h and {cost} at {number(settings.tokens_per_s)} tokens/s"


def _memory_table(given: Given) -> Table:
    """What each offload and sequence_parallel needs, on the recipe's workers, and on half and a quarter of them."""
    settings, model = given.settings, given.architecture
    assert model is not None
    table = Table(
        title=f"GiB of a GPU (and of its host) for windows of {settings.window:,} tokens\n"
        f"* fits, > the one to take, h needs more of its host than train.host_memory_gib={settings.host_memory_gib:g}",
        title_justify="left", title_style="bold", box=None, pad_edge=False,
    )  # fmt: skip
    for name in ("workers", "sequence_parallel", *(f"offload {offload}" for offload in OFFLOADS)):
        table.add_column(name, justify="right")
    for ranks in rank_counts(settings.workers):
        found = list(choices(model, settings, ranks=ranks))
        taken = best(found)
        for spread in dict.fromkeys(choice.sequence_parallel for choice in found):
            row = [choice for choice in found if choice.sequence_parallel == spread]
            table.add_row(str(ranks), str(spread), *(_cell(choice, taken) for choice in row))
    return table


def rank_counts(workers: tuple[int, int]) -> list[int]:
    """The recipe's counts of workers, and a quarter and half of the most."""
    least, most = workers
    return sorted({least, most, *(most // part for part in (2, 4) if most >= 4 * part)})


def _cell(choice: Choice, taken: Choice | None) -> Text:
    host = f" ({_gib(choice.memory.host)})" if choice.memory.host else ""
    mark = ">" if choice is taken else "*" if choice.fits else "h" if choice.fits_gpu else " "
    return Text(
        f"{mark} {_gib(choice.memory.total)}{host}", "bold green" if choice is taken else "" if choice.fits else "dim"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f}" if size < 100 * GIB else f"{size / GIB:,.0f}"
