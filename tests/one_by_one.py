"""Training in plain PyTorch over transformers' own loss, one example at a time: what packed ZeRO-3 is compared with."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from ranks import WINDOW, Outcome

from pipeline.pack import Document, Window, best_fit, encode, together

STEPS = 20


def examples(tokenizer: Any, count: int = 60) -> list[Document]:
    draw = Random(2)
    texts = ["".join(draw.choices("0123456789 +-=xyz", k=draw.randint(4, 90))) for _ in range(count)]
    return [
        encode(
            [
                {"role": "user", "content": f"Say {n}"},
                {"role": "assistant", "content": f"<think>\n{text}\n</think>{n}"},
            ],
            tokenizer,
        )
        for n, text in enumerate(texts)
    ]


def packed(tokenizer: Any) -> list[Window]:
    documents = examples(tokenizer)
    bins = best_fit([len(document.ids) for document in documents], window=WINDOW)
    return [together([documents[n] for n in held], [str(n) for n in held]) for held in bins]


def one_by_one(model_folder: Path, given: Any, held: list[Window]) -> Outcome:
    """The same training in plain PyTorch: no packing, no sharding, transformers' loss of each example by itself."""
    import torch
    from transformers import AutoModelForCausalLM

    settings = given.settings
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="eager")
    model.train()
    named = list(model.named_parameters())
    decay = [p for _, p in named if p.ndim > 1]
    groups = [{"params": decay, "weight_decay": settings.weight_decay}]
    groups.append({"params": [p for _, p in named if p.ndim == 1], "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.95), eps=1e-8)
    out = Outcome(history={"loss": [], "grad_norm": []})
    steps = given.schedule(num_labels=tuple(w.num_labels for w in held), num_tokens=tuple(len(w.ids) for w in held))
    for step in list(steps.steps())[:STEPS]:
        documents = [document for number in step.windows for document in held[number].documents]
        trained = sum(len(document.ids) - max(1, document.prompt) for document in documents)
        summed = 0.0
        for document in documents:
            ids = torch.tensor(document.ids[None].astype(np.int64))
            labels = ids.clone()
            labels[0, : document.prompt] = -100
            count = len(document.ids) - max(1, document.prompt)
            loss = model(input_ids=ids, labels=labels).loss * (count / trained)
            loss.backward()
            summed += loss.item()
        if not out.grads:
            out.grads = {name: p.grad.numpy().copy() for name, p in named}
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = step.lr
        optimizer.step()
        optimizer.zero_grad()
        out.history["loss"].append(summed)
        out.history["grad_norm"].append(float(norm))
    out.weights = {name: p.detach().numpy().copy() for name, p in named}
    return out
