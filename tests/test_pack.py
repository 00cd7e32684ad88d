"""Packing: labels on the reply only, documents apart, nothing lost, little padding."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.errors import Stop
from pipeline.pack import IGNORED, Document, best_fit, encode, end_of_turn, fitting, pack


@dataclass
class Letters:
    """A tokenizer with a token a character, and <...> marks as special tokens from 1000 on."""

    marks: tuple[str, ...] = ("<end>", "<user>", "<bot>")
    opens_thought: bool = False
    ends_turns: bool = True
    eos_token_id: int = 999
    all_special_ids: list[int] = field(default_factory=lambda: [999, 1000, 1001, 1002])

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        ended = "<end>" if self.ends_turns else ""
        named = {"user": "<user>", "assistant": "<bot>"}
        text = "".join(f"{named[turn['role']]}{turn['content']}{ended}" for turn in conversation)
        return text + ("<bot>" + ("<think>\n" if self.opens_thought else "") if add_generation_prompt else "")

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        ids = []
        while text:
            mark = next((mark for mark in self.marks if text.startswith(mark)), None)
            ids.append(1000 + self.marks.index(mark) if mark else ord(text[0]))
            text = text[len(mark or "x") :]
        return ids


def turns(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def document(length: int, start: int = 0) -> Document:
    ids = list(range(start, start + length))
    return Document(ids=ids, labels=[IGNORED] * (length // 2) + ids[length // 2 :])


def test_only_the_reply_and_its_end_are_labelled() -> None:
    encoded = encode(turns("ab", "cde"), Letters())
    end, user, bot = 1000, 1001, 1002
    assert encoded.ids == [user, 97, 98, end, bot, 99, 100, 101, end]
    assert encoded.labels == [IGNORED] * 5 + [99, 100, 101, end]
    assert encoded.num_labels == 4


def test_the_thought_is_trained_on_letter_for_letter() -> None:
    said = "<think>\nhm\n</think>\n\n5"
    encoded = encode(turns("a", said), Letters())
    assert encoded.labels[4:] == [*map(ord, said), 1000]


def test_a_template_that_opens_the_thought_does_not_get_it_twice() -> None:
    encoded = encode(turns("a", "<think>\nhm\n</think>\n\n5"), Letters(opens_thought=True))
    text = "".join(chr(token) for token in encoded.ids if token < 999)
    assert text == "a<think>\nhm\n</think>\n\n5"
    assert [label for label in encoded.labels if label != IGNORED] == [*map(ord, "hm\n</think>\n\n5"), 1000]


def test_the_end_of_a_turn_is_the_templates_own_or_the_end_of_text() -> None:
    assert end_of_turn(Letters()) == 1000
    assert end_of_turn(Letters(ends_turns=False)) == 999


def test_best_fit_never_overfills_and_holds_every_document_once() -> None:
    rng = random.Random(1)
    checked = 0
    for _ in range(200):
        window = rng.randint(1, 60)
        lengths = [rng.randint(1, window) for _ in range(rng.randint(0, 80))]
        bins = best_fit(lengths, window=window)
        assert sorted(number for held in bins for number in held) == list(range(len(lengths)))
        assert all(0 < sum(lengths[number] for number in held) <= window for held in bins)
        # Two bins that could be one would both be at most half full.
        fills = sorted(sum(lengths[number] for number in held) for held in bins)
        assert len(fills) < 2 or fills[0] + fills[1] > window
        checked += len(lengths)
    assert checked > 5000


def test_best_fit_finds_the_perfect_packing_by_hand() -> None:
    assert [sorted(held) for held in best_fit([6, 4, 7, 3, 5, 5], window=10)] == [[2, 3], [0, 1], [4, 5]]


def test_a_document_longer_than_a_window_is_an_error_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="document 1 has 11 tokens, more than a window of 10"):
        best_fit([3, 11], window=10)


def test_long_thoughts_leave_at_most_one_percent_of_padding() -> None:
    rng = random.Random(7)
    window = 16_384
    lengths = [min(window, max(64, int(rng.lognormvariate(8.0, 0.8)))) for _ in range(5000)]
    bins = best_fit(lengths, window=window)
    padding = 1 - sum(lengths) / (len(bins) * window)
    assert padding <= 0.01, f"{padding:.3%}"


def test_a_window_by_hand() -> None:
    one = Document(ids=[11, 12, 13], labels=[IGNORED, 12, 13])
    two = Document(ids=[21, 22], labels=[21, 22])
    (window,) = pack([two, one], window=8, pad_id=0, seed=1).to_pylist()
    # The longer one first. The first token of a document has nothing to be predicted from.
    assert window["ids"] == [11, 12, 13, 21, 22, 0, 0, 0]
    assert window["labels"] == [IGNORED, 12, 13, IGNORED, 22, IGNORED, IGNORED, IGNORED]
    assert window["positions"][:5] == [0, 1, 2, 0, 1]
    assert window["positions"][5] == 0
    assert (window["num_labels"], window["num_tokens"]) == (3, 5)


def test_packing_keeps_every_document_whole_and_counts_what_it_labels() -> None:
    rng = random.Random(3)
    documents = [document(rng.randint(2, 40), start=1000 * n) for n in range(1, 101)]
    windows = pack(documents, window=64, pad_id=0, seed=1).to_pylist()
    found = []
    for window in windows:
        assert {len(window[name]) for name in ("ids", "labels", "positions")} == {64}
        starts = [at for at in range(window["num_tokens"]) if window["positions"][at] == 0]
        for start, stop in zip(starts, [*starts[1:], window["num_tokens"]], strict=True):
            assert window["positions"][start:stop] == list(range(stop - start))
            assert window["labels"][start] == IGNORED
            found.append((window["ids"][start:stop], [IGNORED, *window["labels"][start + 1 : stop]]))
        assert window["labels"][window["num_tokens"] :] == [IGNORED] * (64 - window["num_tokens"])
        assert window["num_labels"] == sum(label != IGNORED for label in window["labels"])
    assert sorted(ids for ids, _ in found) == [one.ids for one in documents]
    assert sorted(labels for _, labels in found) == sorted([IGNORED, *one.labels[1:]] for one in documents)
    assert sum(window["num_labels"] for window in windows) == sum(one.num_labels for one in documents)


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    documents = [document(30, start=100 * n) for n in range(1, 41)]
    one, same, other = (pack(documents, window=64, pad_id=0, seed=seed).to_pylist() for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert sorted(window["ids"] for window in one) == sorted(window["ids"] for window in other)


def test_documents_that_do_not_fit_are_counted() -> None:
    fit, left = fitting([document(4), document(11), document(10)], window=10)
    assert ([len(one.ids) for one in fit], left) == ([4, 10], 1)
    assert fitting([], window=10) == ([], 0)


def test_when_nothing_fits_one_line_says_what_would() -> None:
    with pytest.raises(Stop, match=r"train\.window=10 tokens; the shortest has 11: raise train\.window"):
        fitting([document(12), document(11)], window=10)
