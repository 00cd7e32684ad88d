"""The model's card: what it was made from, how, at what cost, and what was measured; what was not is said too.

In: what the steps left (recipe.yaml, summary/*.json, the data set's files). Out: model/README.md, a Hugging Face model
card. Summaries may lack keys; text that comes from data or recipes is escaped.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml
from markupsafe import Markup

from pipeline.card import environment
from pipeline.dataset import sections
from pipeline.dataset.made import Made, folder_name, made
from pipeline.dataset.markdown import code, flat, plain, table
from pipeline.dataset.statistics import Statistics, statistics
from pipeline.store import Store

_ON_HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_MEASURED_BY = {"transformers": "transformers, on CPUs", "vllm": "vLLM"}
# Where it goes while it trains is nobody else's business.
_OPERATIONAL = frozenset({"watch"})


def write_card(
    store: Store,
    *,
    trained: Mapping[str, Any] | None = None,
    scored: Mapping[str, Any] | None = None,
    folder: str = "model",
) -> None:
    """Write a run's model card; to be called when the model is exported, and again when it was measured.

    `trained` and `scored` are the summaries that train and evaluate are about to write; none takes those of the run.
    """
    run = made(store, _summary(store, "choose"))
    text = card(
        run,
        statistics(store),
        trained=_summary(store, "train") if trained is None else trained,
        scored=_summary(store, "evaluate") if scored is None else scored,
        digest=data_hash(store),
    )
    store.write_bytes(f"{folder}/README.md", text.encode())


def card(
    run: Made, found: Statistics, *, trained: Mapping[str, Any], scored: Mapping[str, Any], digest: str = ""
) -> str:
    """A Hugging Face model card: YAML front matter, then Markdown."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", run.name) or "model"
    origins = sections.origins(run, found)
    body = (
        environment()
        .get_template("model_card.md.j2")
        .render(
            name=run.name,
            repo=Markup(f"OWNER/{name}"),
            base=_base(run),
            outside=_names(run.outside),
            outside_licences=_names(f"{name} (licence: {licence})" for name, licence in run.outside.items()),
            own=run.trains_on_own,
            benchmarks=_names(run.benchmarks),
            standin=run.standin and run.trains_on_own,
            warnings=list(_warnings(run, trained, scored)),
            data=_data(run, found, digest),
            phases=_phases(trained),
            checks=_checks(trained),
            scores=_scores(scored),
            paired=_paired(scored),
            held_out=scored.get("held_out_in_dataset"),
            left_out=_number(scored.get("held_out_left_out")),
            licence_note=origins["licence_note"],
            sources=origins["sources"],
            terms=origins["terms"],
            decontamination=origins["decontamination"],
            limits=list(_limits(run, scored)),
            commit=run.commit,
            versions=", ".join(f"{library} {version}" for library, version in run.versions.items()),
            seed=run.recipe.get("seed", 0),
            recipe=code(run.deciding + _training(run), language="yaml"),
        )
    )
    return f"---\n{yaml.safe_dump(_front(run), sort_keys=False, allow_unicode=True, width=10_000)}---\n\n{body}"


def data_hash(store: Store, folder: str = "dataset") -> str:
    """SHA-256 of a data set: of the lines `<SHA-256 of the file>  <name>` of its files, as sha256sum prints them."""
    whole = hashlib.sha256()
    for name in store.names(folder, ".parquet"):
        each = hashlib.sha256()
        for block in store.read_blocks(f"{folder}/{name}"):
            each.update(block)
        whole.update(f"{each.hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def _front(run: Made) -> dict[str, Any]:
    sources = {str(source.get("path")) for source in run.sources if source.get("format") == "hf"}
    front = {
        "base_model": run.student if _ON_HUB.fullmatch(run.student) else None,
        "base_model_relation": "finetune" if _ON_HUB.fullmatch(run.student) else None,
        "datasets": sorted(path for path in sources if run.trains_on_own and _ON_HUB.fullmatch(path)),
        "language": [code for code in run.languages if run.trains_on_own and _LANGUAGE.fullmatch(code)],
        # Decided by the base model's, the data's and the teacher's terms together: nothing here knows them all.
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*(_OWN_TAGS if run.trains_on_own else ()), "longthought"],
    }
    return {key: value for key, value in front.items() if value}


def _base(run: Made) -> str:
    return PurePath(run.student).name if run.local_student else run.student


def _warnings(run: Made, trained: Mapping[str, Any], scored: Mapping[str, Any]) -> Iterator[str]:
    of = "of the base model, of the problems and from the teacher's terms, all below"
    if not run.trains_on_own:
        of = "of the base model and of the rows that it was trained on"
    yield f"no licence is named: it follows from those {of}. Decide on one before you share the weights."
    if not _told(scored, "models"):
        yield "nothing was measured yet: how good this model is, is not known."
    if not _told(trained, "opened"):
        yield "the export was not compared with the trained weights."
    if not run.benchmarks:
        yield "no benchmark was held out: nothing is known of what the training problems share with any."


def _data(run: Made, found: Statistics, digest: str) -> Markup:
    distilled = run.distilled
    calls, tokens = _told(distilled, "calls"), _told(distilled, "tokens")
    asked = sum(int(calls.get(name, 0)) for name in ("bought", "reused"))
    cost = distilled.get("cost_total_usd")
    made_up = " (the stand-in's prices are made up)" if run.standin else ""
    rows = [
        ("base model", _base(run)),
        ("examples", ", ".join(f"{split} {count:,}" for split, count in found.splits.items()) or "none"),
        ("problems", f"{found.problems:,}"),
        ("tokens of thoughts and replies", f"{found.tokens:,}"),
        ("SHA-256 of the data files", digest or "not taken"),
        ("written by", ", ".join(flat(engine, most=80) for engine in sorted(found.counts["engine"])) or "not said"),
        ("answers asked for", f"{asked:,}" if calls else "not known"),
        ("their tokens", ", ".join(f"{name} {int(count):,}" for name, count in tokens.items()) or "not known"),
        ("their cost", f"${float(cost):,.4f} (USD){made_up}" if cost is not None else "not known"),
    ]
    return table(("", ""), rows, right=9)


def _phases(trained: Mapping[str, Any]) -> Markup:
    heads = ("phase", "steps", "examples", "tokens", "padding", "loss, first step", "loss, last step")
    rows = [
        (
            str(phase.get("name", "")),
            _number(phase.get("steps")),
            _number(phase.get("examples")),
            _number(phase.get("tokens")),
            _share(phase.get("padding_fraction")),
            _decimal(phase.get("loss_first")),
            _decimal(phase.get("loss_last")),
        )
        for phase in trained.get("phases") or ()
    ]
    return table(heads, rows)


def _checks(trained: Mapping[str, Any]) -> Markup:
    rows = [
        (
            _MEASURED_BY.get(who, who),
            _number(found.get("tokens")),
            *(_decimal(found.get(name)) for name in _DIFFERENCES),
        )
        for who, found in _told(trained, "opened").items()
    ]
    return table(("opened by", "tokens compared", "mean difference", "largest"), rows)


_OWN_TAGS = ("reasoning", "distillation", "chain-of-thought")
_DIFFERENCES = ("mean_difference", "largest")


def _scores(scored: Mapping[str, Any]) -> Markup:
    heads = ("benchmark", "model", "pass@1", "95 % interval", "problems", "draws", "mean tokens", "cut off")
    rows: list[tuple[str, ...]] = []
    for model, by_benchmark in _told(scored, "models").items():
        for benchmark, score in by_benchmark.items():
            rows.append(
                (
                    benchmark,
                    model,
                    _share(score.get("pass@1")),
                    _interval(score.get("ci95")),
                    _number(score.get("problems")),
                    _number(score.get("samples")),
                    _number(score.get("mean_tokens")),
                    _share(score.get("truncated")),
                )
            )
    rows.sort(key=lambda row: row[0])
    return table(heads, rows, right=2)


def _paired(scored: Mapping[str, Any]) -> Markup:
    rows = [
        (
            str(pair.get("benchmark", "")),
            f"{pair.get('b')} minus {pair.get('a')}",
            _share(pair.get("difference")),
            _interval(pair.get("ci95")),
            _decimal(pair.get("p_value")),
        )
        for pair in scored.get("paired") or ()
    ]
    return table(("benchmark", "difference in pass@1", "difference", "95 % interval", "p"), rows, right=2)


def _limits(run: Made, scored: Mapping[str, Any]) -> Iterator[str]:
    if _told(scored, "models"):
        yield "Measured is what the table above says, drawn as the recipe below says; nothing is known of other tasks."
    yield "Nothing was measured of what it does with harmful requests, of its facts, or of other languages."
    if run.trains_on_own:
        yield (
            "It learned from texts whose final answers were verified, not their thoughts: it may reason wrongly and "
            "sound sure."
        )
    if run.outside:
        yield "Nothing was verified of the rows that came from outside: it may have learned what is wrong."
    if not run.recipe:
        yield "The recipe is not known, so neither are the sources of its data."
    yield "What the base model can and can't do, and its leanings, it has from there."


def _training(run: Made) -> str:
    """The recipe's student and training, without where it ran and with folders cut to their names."""
    phases = [
        {key: folder_name(value) if key == "dataset" else value for key, value in phase.items() if value}
        for phase in run.section("train").get("phases") or ()
    ]
    kept = {key: value for key, value in run.section("train").items() if value is not None and key not in _OPERATIONAL}
    told = {"student": {"model": _base(run)}, "train": {**kept, "phases": phases}}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=110)


def _summary(store: Store, name: str) -> Mapping[str, Any]:
    where = f"summary/{name}.json"
    found = store.read_json(where) if store.exists(where) else {}
    return found if isinstance(found, Mapping) else {}


def _told(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _names(names: Iterable[str]) -> Markup:
    return Markup(", ").join(map(plain, names))


def _number(value: Any) -> str:
    return f"{round(value):,}" if isinstance(value, int | float) else ""


def _decimal(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _share(value: Any) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else ""


def _interval(value: Any) -> str:
    two = isinstance(value, Sequence) and len(value) == 2
    return f"{_share(value[0])} to {_share(value[1])}" if two else ""
