"""What is trained on: the loss of packed windows against transformers' own loss of each document alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model

torch = pytest.importorskip("torch")
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from cluster.training import attention  # noqa: E402
from cluster.training.attention import Documents  # noqa: E402
from cluster.training.loss import LossModel  # noqa: E402
from cluster.training.zero import decayed  # noqa: E402
from pipeline.errors import Stop  # noqa: E402
from pipeline.pack import IGNORED, Document, Window, encode, end_of_turn, laid_out, together  # noqa: E402

TURNS = [
    [
        {"role": "user", "content": f"What is {n} + {n}?"},
        {"role": "assistant", "content": f"<think>\n{n}\n</think>\n\n{2 * n}"},
    ]
    for n in (1, 22, 333, 4444, 55555)
]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def opened(folder: Path, *, attn: str = attention.NAME) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attn)


def documents(folder: Path) -> list[Document]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [encode(turns, tokenizer) for turns in TURNS]


def inputs(window: Window, *, size: int) -> tuple[Any, ...]:
    """The arguments of a LossModel for a window of one rank."""
    ids, labels, positions = (torch.from_numpy(each) for each in laid_out(window, size=size, pad_id=0))
    ends = tuple(window.lengths.cumsum().tolist())
    targets = torch.cat([labels[1:], torch.tensor([IGNORED])])
    return ids, targets, positions, Documents((*ends, size) if ends[-1] < size else ends)


def alone(model: Any, document: Document) -> Any:
    """transformers' mean loss of one document, times its trained tokens."""
    ids, labels = (torch.tensor([each.tolist()]) for each in (document.ids, document.labels))
    return model(input_ids=ids, labels=labels).loss * document.num_labels


@pytest.mark.parametrize("chunks", [1, 3, 50])
@pytest.mark.parametrize("padding", [0, 13])
def test_packed_loss_and_gradient_are_the_sums_of_the_documents_own(
    model_folder: Path, chunks: int, padding: int
) -> None:
    ours, theirs = opened(model_folder), opened(model_folder, attn="eager")
    held = documents(model_folder)
    window = together(held, [str(n) for n in range(len(held))])
    packed = LossModel(ours, chunks=chunks)(*inputs(window, size=len(window.ids) + padding))
    # Scaled, as a step scales it: the gradient is made on the way forward and must still follow.
    (packed * 0.25).backward()
    expected = sum(alone(theirs, document) for document in held)
    (expected * 0.25).backward()
    assert packed.item() == pytest.approx(expected.item(), rel=1e-5)
    for (name, mine), right in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, right.grad, rtol=1e-4, atol=1e-6), name
        assert right.grad.abs().max() > 0, name


def test_documents_of_one_window_do_not_see_each_other(model_folder: Path) -> None:
    model = opened(model_folder).eval()
    window = together(documents(model_folder)[:2], ["0", "1"])
    first = int(window.lengths[0])
    other = copy.deepcopy(window)
    other.ids[:first] = 9
    losses = []
    for each in (window, other):
        ids, targets, positions, ends = inputs(each, size=len(window.ids))
        targets[: first - 1] = IGNORED
        losses.append(float(LossModel(model, chunks=1)(ids, targets, positions, ends).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    theirs = opened(model_folder, attn="eager")
    assert losses[0] == pytest.approx(alone(theirs, documents(model_folder)[1]).item(), rel=1e-5)


def test_a_sliding_window_is_transformers_own(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=7,
    )
    MistralForCausalLM(config).save_pretrained(tmp_path)
    ids = torch.randint(0, 64, (1, 40))
    theirs = opened(tmp_path, attn="eager")(input_ids=ids, use_cache=False).logits
    ours = opened(tmp_path)(input_ids=ids, use_cache=False, documents=Documents((40,))).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    wide = opened(tmp_path, attn="eager")
    wide.config.sliding_window = None
    assert not torch.allclose(wide(input_ids=ids, use_cache=False).logits, theirs, atol=1e-3), "nothing slides"


def test_attention_that_is_not_done_is_refused(model_folder: Path) -> None:
    heads = torch.zeros(1, 4, 3, 8)
    for given in ({"softcap": 30.0}, {"s_aux": heads}, {"dropout": 0.1}):
        with pytest.raises(Stop, match="which training can't do"):
            attention.attend(torch.nn.Module(), heads, heads, heads, None, documents=Documents((3,)), **given)


def test_exactly_the_reply_and_its_end_are_trained_on(model_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    document = encode(TURNS[1], tokenizer)
    trained = [label for label in document.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "<think>\n22\n</think>\n\n44<|end|>"
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|end|>")
    # Up to the end of the reply the tokens are those of the model's own template.
    whole = tokenizer.apply_chat_template(TURNS[1], tokenize=False)
    assert whole.startswith(tokenizer.decode(document.ids))


def test_weight_decay_leaves_norms_alone(model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = decayed(model, weight_decay=0.1)
    spared = [names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]]
    assert spared
    assert all("norm" in name for name in spared)
    assert sum(len(group["params"]) for group in groups) == len(names)
