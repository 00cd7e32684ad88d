"""The FLOPs that MFU counts, against torch's own counter on models that run."""

import pytest

from pipeline.training.flops import peak_flops, seen

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

LENGTHS = [1, 14, 7]


def test_pairs_that_are_seen_are_those_of_a_causal_mask_with_a_window() -> None:
    checked = 0
    for length in (1, 2, 5, 30):
        for window in (None, 1, 4, 30, 50):
            mask = [0 <= query - key < (window or length) for query in range(length) for key in range(length)]
            assert seen(length, window) == sum(mask)
            checked += 1
    assert checked == 20


def by_rows(module, query, key, value, attention_mask, *, documents, scaling=None, sliding_window=None, **_):
    """Attention a query at a time, over the keys that it sees and no others: what it takes is what must be counted."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    rows, start = [], 0
    for end in documents.ends:
        for at in range(start, end):
            first = start if sliding_window is None else max(start, at + 1 - sliding_window)
            scores = query[0, :, at : at + 1] @ key[0, :, first : at + 1].transpose(1, 2)
            rows.append(torch.softmax(scores * scaling, dim=-1) @ value[0, :, first : at + 1])
        start = end
    return torch.cat(rows, dim=1).transpose(0, 1)[None], None


def models() -> dict[str, object]:
    from transformers import LlamaConfig, MistralConfig, MixtralConfig, Qwen2Config, Qwen3Config

    small = {
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    return {
        "llama": LlamaConfig(**small),
        "qwen2, head tied to the embedding": Qwen2Config(**small, tie_word_embeddings=True),
        "qwen3, heads wider than the model": Qwen3Config(**small, head_dim=16),
        "mistral with a sliding window": MistralConfig(**small, sliding_window=9),
        "qwen2, one layer with a window": Qwen2Config(
            **small, use_sliding_window=True, sliding_window=6, max_window_layers=1
        ),
        "mixtral, 2 of 4 experts": MixtralConfig(
            **small, num_local_experts=4, num_experts_per_tok=2, sliding_window=None
        ),
    }


def measured(model: object, lengths: list[int], labels: int) -> int:
    """What torch counts in a forward and backward pass of our loss over packed documents."""
    from itertools import accumulate

    from torch.utils.flop_counter import FlopCounterMode

    from cluster.training.attention import Documents
    from cluster.training.loss import LossModel
    from pipeline.pack import IGNORED

    ends = tuple(accumulate(lengths))
    targets = torch.full((ends[-1],), IGNORED)
    targets[:labels] = 5
    positions = torch.cat([torch.arange(length) for length in lengths])
    loss_model = LossModel(model, chunks=2)
    with FlopCounterMode(display=False) as counter:
        loss_model(torch.randint(1, 90, (ends[-1],)), targets, positions, Documents(ends)).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", list(models()))
def test_flops_are_those_that_torch_counts(name: str) -> None:
    from transformers import AttentionInterface, AutoModelForCausalLM

    from cluster.training.flops import work_of

    AttentionInterface.register("by_rows", by_rows)
    torch.manual_seed(0)
    # Torch's counter knows matrix products, not the grouped ones that experts take elsewhere.
    model = AutoModelForCausalLM.from_config(
        models()[name], attn_implementation="by_rows", experts_implementation="eager"
    )
    ours = work_of(model).of(LENGTHS, 11)
    # Rotary embeddings make their angles by a small matrix product, which is no weight's.
    assert ours == pytest.approx(measured(model, LENGTHS, 11), rel=0.005)


def test_weights_that_are_not_trained_have_no_gradient_to_count() -> None:
    from transformers import AttentionInterface, AutoModelForCausalLM

    from cluster.training.flops import work_of
    from cluster.training.lora import with_additions
    from pipeline.training.settings import LoraSettings

    AttentionInterface.register("by_rows", by_rows)
    model = AutoModelForCausalLM.from_config(models()["llama"], attn_implementation="by_rows")
    whole = work_of(model)
    added = with_additions(model, LoraSettings(rank=4), seed=0)
    held = work_of(added)
    assert 0.6 < held.token / whole.token < 1.0
    assert held.label == pytest.approx(whole.label * 4 / 6)
    # The first layer's inputs need no gradient, which is not told apart: much in so small a model.
    assert held.of([20, 5], 12) == pytest.approx(measured(added, [20, 5], 12), rel=0.15)


def test_gpus_are_known_by_the_names_that_their_drivers_give() -> None:
    known = {
        "NVIDIA H100 80GB HBM3": 989.4e12,
        "NVIDIA H100 PCIe": 756e12,
        "NVIDIA H100 NVL": 835e12,
        "NVIDIA H200": 989.4e12,
        "NVIDIA A100-SXM4-80GB": 312e12,
        "NVIDIA A100 80GB PCIe": 312e12,
        "NVIDIA B200": 2250e12,
        "NVIDIA L40S": 362.05e12,
        "NVIDIA L4": 121e12,
        "NVIDIA GeForce RTX 4090": 165.2e12,
    }
    for name, peak in known.items():
        assert peak_flops(name) == peak, name
    for name in ("", "Tesla T4", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A1000", "x" * 10**6):
        assert peak_flops(name) is None, name
