"""The training loop on one, two and three ranks against plain training; splitting changes nothing, harm is not done."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_by_one import STEPS, one_by_one, packed
from ranks import Outcome, Run, plan, train_on, windows
from tiny import ROOT, tiny_model

from pipeline.pack import Document, Window, together
from pipeline.store import Store

torch = pytest.importorskip("torch")

LORA = {"rank": 4, "alpha": 8.0}
SPOILED = 200
"""A token whose embedding is not a number."""
GOLDEN = ROOT / "tests" / "golden" / "losses.json"
# Ranks -> windows of a step: accumulation of 1 and of 4, and 4 windows on 3 ranks, where some have none.
BATCHES = {1: (1, 4), 2: (2, 8), 3: (3, 12, 4)}
SETTINGS: dict[str, Any] = {"batch_windows": 3, "epochs": 3, "weight_decay": 0.1, "checkpoint_steps": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every run of this file, by its name."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("ranks")
    model, spoiled = tiny_model(folder / "model"), _spoiled(tiny_model(folder / "spoiled"))
    held = packed(AutoTokenizer.from_pretrained(model))
    store = Store(str(folder))
    windows(store, "packs", held)
    windows(store, "few", held[:3])
    windows(store, "bad", [*held, _with_spoiled(held[0])])
    windows(store, "odd", [*held, _of_noise()])

    def on(ranks: int, **runs: Run) -> dict[str, Outcome]:
        return dict(zip(runs, train_on(ranks, list(runs.values()), folder / str(ranks)), strict=True))

    def run(name: str, *, start: Path = model, resume: bool = False, stop_at: int | None = None, **changes: Any) -> Run:
        return Run(plan(folder, start, **(SETTINGS | changes)), folder / "saved" / name, resume, stop_at)

    def plain(ranks: int) -> dict[str, Run]:
        return {
            f"plain {ranks} {batch}": run(
                "plain", workers=ranks, batch_windows=batch, epochs=-(-STEPS // -(-len(held) // batch)), clip=0.5
            )
            for batch in BATCHES[ranks]
        }

    two = on(
        2,
        **plain(2),
        pair=run("pair", workers=2, validation="few"),
        shared=run("shared", workers=2, sequence_parallel=2, validation="few"),
        offloaded=run("offloaded", workers=2, offload="all"),
        low_rank=run("low_rank", workers=2, lora=LORA),
        bfloat16=run("bfloat16", workers=2, dtype="bfloat16"),
        cut_off=run("cut_off", workers=2, stop_at=6),
        low_rank_cut_off=run("low_rank_cut_off", workers=2, lora=LORA, stop_at=6),
        skipping=run("skipping", start=spoiled, workers=2, packs="bad", batch_windows=1, epochs=1),
        stopping=run(
            "stopping", start=spoiled, workers=2, packs="bad", batch_windows=1, epochs=1, guard={"most_skipped": 0}
        ),
    )
    shutil.copytree(folder / "saved" / "cut_off", folder / "saved" / "cut_off-1")
    only_losses = {"median_of": 4, "loss_spike": 1, "spike": 1e9}
    only_norms = {"median_of": 4, "loss_spike": 1e9, "spike": 3, "most_skipped": 1000}
    one = on(
        1,
        jumping=run("jumping", workers=1, packs="odd", batch_windows=1, lr=3e-3, epochs=3, guard=only_norms),
        **plain(1),
        alone=run("alone", workers=1, validation="few"),
        low_rank_alone=run("low_rank_alone", workers=1, lora=LORA),
        on_one=run("cut_off-1", workers=1, resume=True),
        spiking=run(
            "spiking",
            workers=1,
            packs="odd",
            batch_windows=1,
            lr=3e-3,
            epochs=6,
            guard=only_losses,
        ),
    )
    three = on(
        3,
        **plain(3),
        on_three=run("cut_off", workers=3, resume=True),
        low_rank_on_three=run("low_rank_cut_off", workers=3, lora=LORA, resume=True),
    )
    plans = {name: each.plan for ranks in BATCHES for name, each in plain(ranks).items()}
    oracles = {f"oracle {name}": one_by_one(model, each, held) for name, each in plans.items()}
    return {**two, **one, **three, **oracles}


def _of_noise() -> Window:
    """A window that can't be learnt."""
    noise = np.random.default_rng(3).integers(4, 199, size=200).astype(np.int32)
    return together([Document(noise, 1)], ["noise"])


def _spoiled(model: Path) -> Path:
    from transformers import AutoModelForCausalLM

    opened = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        opened.get_input_embeddings().weight[SPOILED] = torch.nan
    opened.save_pretrained(model)
    return model


def _with_spoiled(window: Window) -> Window:
    ids = window.ids.copy()
    ids[3] = SPOILED
    return together([Document(ids[: window.lengths[0]], int(window.prompts[0]))], ["the spoiled one"])


def curve(made: dict[str, Outcome], name: str) -> list[float]:
    losses: list[float] = made[name].history.loss
    return losses


@pytest.mark.parametrize(("ranks", "batch"), [(ranks, batch) for ranks, all_ in BATCHES.items() for batch in all_])
def test_packed_zero3_makes_the_gradients_losses_and_weights_of_plain_training(
    made: dict[str, Outcome], ranks: int, batch: int
) -> None:
    ours, oracle = made[f"plain {ranks} {batch}"], made[f"oracle plain {ranks} {batch}"]
    assert ours.history.loss[:STEPS] == pytest.approx(oracle.history["loss"], rel=2e-5)
    assert ours.history.grad_norm[:STEPS] == pytest.approx(oracle.history["grad_norm"], rel=2e-4)
    assert max(oracle.history["grad_norm"]) > 0.5, "nothing was clipped: clipping is not tested"
    for name, grad in oracle.grads.items():
        assert np.allclose(ours.grads[name], grad, rtol=1e-3, atol=1e-6), name
        assert abs(grad).max() > 1e-5, name
    if len(ours.history.loss) == STEPS:
        for name, weight in oracle.weights.items():
            assert np.allclose(ours.weights[name], weight, atol=2e-5), name


def test_twenty_losses_are_what_they_were(made: dict[str, Outcome]) -> None:
    """A change of these is a change of training, in our code or in what it stands on."""
    assert made["plain 2 8"].history.loss[:STEPS] == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-3)


@pytest.mark.parametrize("name", ["pair", "shared", "offloaded", "on_one", "on_three"])
def test_splitting_saving_and_going_on_change_no_loss_no_window_and_no_weight(
    made: dict[str, Outcome], name: str
) -> None:
    alone, other = made["alone"], made[name]
    assert curve(made, name) == pytest.approx(curve(made, "alone"), rel=1e-5)
    assert other.history.grad_norm == pytest.approx(alone.history.grad_norm, rel=1e-4)
    assert other.history.windows == alone.history.windows
    for key, weight in alone.weights.items():
        assert np.allclose(other.weights[key], weight, atol=1e-5), key
    assert curve(made, "alone")[-1] < curve(made, "alone")[0] - 0.1, "nothing was learnt"


@pytest.mark.parametrize("name", ["low_rank", "low_rank_on_three"])
def test_additions_are_the_same_on_any_number_of_ranks_and_only_they_change(
    made: dict[str, Outcome], name: str
) -> None:
    alone = made["low_rank_alone"]
    assert curve(made, name) == pytest.approx(alone.history.loss, rel=1e-4)
    assert alone.history.loss[-1] < alone.history.loss[0]
    assert set(alone.grads) == {key for key in alone.weights if ".lora_" in key}


def test_bfloat16_learns_as_float32_does(made: dict[str, Outcome]) -> None:
    assert curve(made, "bfloat16") == pytest.approx(curve(made, "alone"), rel=5e-3)


def test_going_on_starts_at_the_step_after_the_checkpoint(made: dict[str, Outcome]) -> None:
    for name in ("on_one", "on_three"):
        assert made[name].history.resumed_at == [4]
    assert made["on_three"].history.ranks == {"0": 2, "4": 3}


def test_each_window_is_trained_on_once_an_epoch_as_the_ranks_tell_it(made: dict[str, Outcome]) -> None:
    for name in ("alone", "pair", "shared", "on_one", "on_three"):
        seen = [window for step in made[name].history.windows for window in step]
        size = max(seen) + 1
        for epoch in range(3):
            assert sorted(seen[epoch * size : (epoch + 1) * size]) == list(range(size)), name


def test_validation_is_the_same_on_any_number_of_ranks_and_after_the_last_step(made: dict[str, Outcome]) -> None:
    last = str(made["alone"].history.done)
    assert list(made["alone"].history.validation) == [last]
    for name in ("pair", "shared"):
        assert made[name].history.validation == pytest.approx(made["alone"].history.validation, rel=1e-5)
    # It is a loss of trained-on windows: near the curve's end.
    assert made["alone"].history.validation[last] == pytest.approx(curve(made, "alone")[-1], rel=0.2)


def test_a_step_that_is_not_finite_is_skipped_counted_and_does_no_harm(made: dict[str, Outcome]) -> None:
    history = made["skipping"].history
    (step,) = history.skipped
    assert history.skipped[step] == "the loss is nan"
    assert all(np.isfinite(loss) for n, loss in enumerate(history.loss) if n != int(step))
    finite = {key: weight for key, weight in made["skipping"].weights.items() if "embed_tokens" not in key}
    assert all(np.isfinite(weight).all() for weight in finite.values())


def test_too_many_skipped_steps_stop_the_run_with_the_batch_to_look_at(made: dict[str, Outcome]) -> None:
    said = made["stopping"].stopped
    assert said is not None
    assert "1 steps in a row were not applied" in said
    path = Path(said.partition("its examples are in ")[2].partition(": look")[0])
    told = json.loads(path.read_text())
    ((_, window),) = told["windows"].items()
    assert window["examples"] == ["the spoiled one"]
    assert told["why"] == "the loss is nan"


def test_a_spike_is_skipped_and_leaves_the_weights(made: dict[str, Outcome]) -> None:
    history = made["spiking"].history
    skipped = {history.windows[int(step)][0] for step in history.skipped}
    noise = max(window for step in history.windows for window in step)
    assert skipped == {noise}
    assert all("above the median" in why for why in history.skipped.values())
    for step in map(int, history.skipped):
        before = [history.loss[n] for n in range(step) if str(n) not in history.skipped][-4:]
        assert history.loss[step] > 1 + float(np.median(before))


def test_a_gradient_far_above_the_usual_and_the_clip_is_skipped(made: dict[str, Outcome]) -> None:
    history = made["jumping"].history
    assert history.skipped
    for step, norm in enumerate(history.grad_norm):
        before = [history.grad_norm[n] for n in range(step) if str(n) not in history.skipped][-4:]
        jumps = len(before) == 4 and norm > max(1.0, 3 * float(np.median(before)))
        assert (str(step) in history.skipped) == jumps, step
