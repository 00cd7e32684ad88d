"""What is trained on: the loss of packed windows against transformers' own loss of each document alone."""

import copy
from pathlib import Path

import pytest
from tiny import tiny_model

torch = pytest.importorskip("torch")
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from cluster.zero import LossModel, decayed  # noqa: E402
from pipeline.pack import IGNORED, Document, encode, end_of_turn, pack  # noqa: E402

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


def tensors(window: dict[str, list[int]]) -> list["torch.Tensor"]:
    return [torch.tensor([window[name]]) for name in ("ids", "labels", "positions")]


def alone(model: "torch.nn.Module", document: Document) -> float:
    """transformers' mean loss of one document, times its trained tokens."""
    ids, labels = torch.tensor([document.ids]), torch.tensor([document.labels])
    return float(model(input_ids=ids, labels=labels).loss) * document.num_labels


@pytest.mark.parametrize("chunks", [1, 3, 50])
def test_packed_loss_is_the_sum_of_the_documents_own_losses(model_folder: Path, chunks: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    documents = [encode(turns, tokenizer) for turns in TURNS]
    windows = pack(documents, window=256, pad_id=0, seed=1).to_pylist()
    assert len(windows) < len(documents), "no two documents share a window: nothing is tested"
    packed = sum(float(LossModel(model, chunks=chunks)(*tensors(window)).detach()) for window in windows)
    expected = sum(alone(model, document) for document in documents)
    assert packed == pytest.approx(expected, rel=1e-5)


def test_documents_of_one_window_do_not_see_each_other(model_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    window = pack([encode(turns, tokenizer) for turns in TURNS[:2]], window=256, pad_id=0, seed=1).to_pylist()[0]
    second = window["positions"].index(0, 1)
    other = copy.deepcopy(window)
    other["ids"][:second] = [9] * second
    only_second = [IGNORED] * second + window["labels"][second:]
    losses = []
    for ids in (window["ids"], other["ids"]):
        changed = {**window, "ids": ids, "labels": only_second}
        losses.append(float(LossModel(model, chunks=1)(*tensors(changed)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


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
