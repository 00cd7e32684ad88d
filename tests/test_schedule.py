"""Which windows a step takes, at which rate, on any number of ranks: against torch's schedulers and plain counting."""

import math
from collections import Counter
from typing import Any

import pytest

from pipeline.errors import Stop
from pipeline.training.schedule import Schedule
from pipeline.training.settings import Phase, TrainSettings

LABELS = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)


def schedule(*, epochs: int = 3, tokens: int | None = None, seed: int = 4, **settings: Any) -> Schedule:
    phase = Phase(name="only", generations=("long",), epochs=epochs, tokens=tokens, **settings.pop("phase", {}))
    made = TrainSettings(phases=(phase,), **({"batch_windows": 4, "lr": 1.0} | settings))
    return Schedule(made, phase, seed, LABELS, tuple(2 * count for count in LABELS))


def test_each_epoch_takes_every_window_once_in_its_own_order() -> None:
    steps = list(schedule().steps())
    assert [step.number for step in steps] == list(range(9))
    orders = [[window for step in steps if step.epoch == epoch for window in step.windows] for epoch in range(3)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert sum(step.num_labels for step in steps) == 3 * sum(LABELS)
    assert sum(step.num_tokens for step in steps) == 6 * sum(LABELS)
    assert [len(step.windows) for step in steps] == [4, 4, 3] * 3


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 8])
def test_ranks_share_a_step_without_overlap_and_do_equally_many_micro_steps(ranks: int) -> None:
    for step in schedule().steps():
        shares = [step.share(rank=rank, ranks=ranks) for rank in range(ranks)]
        assert len({len(share) for share in shares}) == 1
        assert len(shares[0]) == math.ceil(len(step.windows) / ranks)
        taken = Counter(window for share in shares for window in share if window is not None)
        assert taken == Counter(step.windows)


@pytest.mark.parametrize("start", range(10))
def test_going_on_from_any_step_gives_the_very_same_steps(start: int) -> None:
    assert list(schedule().steps(start=start)) == list(schedule().steps())[start:]


def test_another_seed_is_another_order() -> None:
    assert [s.windows for s in schedule(seed=4).steps()] != [s.windows for s in schedule(seed=5).steps()]


def test_a_phase_of_so_many_trained_tokens_ends_with_the_step_that_reaches_them() -> None:
    steps = list(schedule(tokens=300).steps())
    sums = [sum(step.num_labels for step in steps[:count]) for count in range(len(steps) + 1)]
    assert sums[-2] < 300 <= sums[-1]
    assert schedule(tokens=300).total == len(steps)
    # The rate falls over the steps that there are, not over those of all epochs.
    linear = [step.lr for step in schedule(tokens=300, schedule="linear", warmup=0.0).steps()]
    assert linear == pytest.approx([1 - n / len(steps) for n in range(len(steps))])
    assert schedule(tokens=10**9).total == 9


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_rates_are_those_of_torchs_schedulers(name: str, warmup: float) -> None:
    torch = pytest.importorskip("torch")
    rates = [step.lr for step in schedule(schedule=name, warmup=warmup).steps()]
    rise = math.ceil(warmup * len(rates))
    assert rates[:rise] == pytest.approx([(n + 1) / rise for n in range(rise)])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rest = len(rates) - rise
    falls = {
        "linear": torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=rest),
        "cosine": None,
        "constant": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, total_iters=rest),
    }
    peer = falls[name]
    if peer is None:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rest, eta_min=0.1)
    expected = []
    for _ in range(rest):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()
    assert rates[rise:] == pytest.approx(expected, abs=1e-6)


def test_a_phases_own_rate_and_schedule_go_before_the_recipes() -> None:
    own = schedule(schedule="cosine", warmup=0.5, phase={"lr": 3.0, "schedule": "constant", "warmup": 0.0})
    assert {step.lr for step in own.steps()} == {3.0}


def test_no_window_is_one_line() -> None:
    made = TrainSettings(phases=({"name": "only", "generations": ("long",)},))
    with pytest.raises(Stop, match="phase only has no window to train on"):
        Schedule(made, made.phases[0], 1, (), ())


@pytest.mark.parametrize(
    ("workers", "right"), [(8, (8, 8)), ([2, 4], (2, 4)), ((1, 1), (1, 1))], ids=["number", "range", "pair"]
)
def test_workers_are_a_number_or_a_range(workers: Any, right: tuple[int, int]) -> None:
    made = TrainSettings(phases=({"name": "only", "generations": ("long",)},), workers=workers)
    assert made.workers == right


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": [4, 2]}, "must be .min, max. with 1 or more"),
        ({"workers": 0}, "must be .min, max. with 1 or more"),
        ({"workers": 6, "sequence_parallel": 4}, "needs a fixed multiple"),
        ({"workers": [4, 8], "sequence_parallel": 4}, "needs a fixed multiple"),
        ({"workers": 4, "sequence_parallel": 4, "window": 1022}, "can't be split over 4 ranks"),
        ({"phases": [{"name": "none"}]}, "phase none trains on nothing"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainSettings(**({"phases": [{"name": "only", "generations": ["long"]}]} | settings))
