"""A few texts of what was trained on, and what the trainer itself makes of them: what its export must come to.

T tokens of a text, S positions of this rank's part of it, H hidden, V vocabulary
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
import torch.distributed as dist

from cluster.packs import Windows
from cluster.training.ranks import Ranks
from cluster.training.readings import Reading, read
from cluster.training.zero import Opened
from pipeline.pack import Document, Window, together


def probes_of(windows: Windows | Sequence[Window], *, count: int = 4, most: int = 256) -> list[Document]:
    """The first documents of a phase's windows, each cut to `most` tokens."""
    return list(islice(_documents(windows, most), count))


def trained_readings(model: Opened, ranks: Ranks, probes: Sequence[Document]) -> list[Reading]:
    """What the trainer makes of the probes with its weights as they are, in the way it trains; every rank calls it."""
    was_training = model.engine.module.training
    model.engine.module.eval()
    try:
        with torch.no_grad():
            return [_reading(model, ranks, probe) for probe in probes]
    finally:
        model.engine.module.train(was_training)


def _documents(windows: Windows | Sequence[Window], most: int) -> Iterator[Document]:
    for number in range(len(windows)):
        for document in windows[number].documents:
            # Of a single token there is nothing to predict.
            if len(document.ids) > 1:
                yield document.cut(most)


def _reading(model: Opened, ranks: Ranks, probe: Document) -> Reading:
    ids_S, _, positions_S, documents = ranks.inputs(together([probe], [""]), model)
    loss_model = model.engine.module
    hidden_SH = loss_model.hidden(ids_S, positions_S, documents)
    logits_SV = loss_model.model.get_output_embeddings()(hidden_SH)
    length, first = len(ids_S), ranks.part * len(ids_S)
    # Behind the last token, and behind the padding of the last part, nothing follows: any token does, and is cut off.
    following = [*probe.ids.tolist()[first + 1 : first + 1 + length], *[0] * length][:length]
    mine = read(logits_SV, torch.tensor(following, device=logits_SV.device))
    parts = _all(mine, ranks)
    ids = tuple(probe.ids.tolist())
    whole = [[value for part in parts for value in part[number]][: len(ids) - 1] for number in range(3)]
    return Reading(ids, *map(tuple, whole))


def _all(
    mine: tuple[list[float], list[int], list[float]], ranks: Ranks
) -> list[tuple[list[float], list[int], list[float]]]:
    """What every rank of this one's windows has, in the order of the text."""
    if ranks.group is None:
        return [mine]
    parts = [mine] * ranks.parts
    dist.all_gather_object(parts, mine, group=ranks.group)
    return parts
