"""Push a run's data set or its model to the Hugging Face Hub: private, unless --public says otherwise.

  python -m jobs.push runs/demo me/my-thoughts --dry-run      what would be sent, and what to look at first
  python -m jobs.push runs/demo me/my-thoughts                sends the data set
  python -m jobs.push recipe.yaml me/my-thoughts              the run of that recipe, if its data set is up to date
  python -m jobs.push runs/demo me/my-student --model         sends the model

Sends what lies in the run's folder dataset (data files, preference pairs, plots) or model (weights, tokenizer, adapter)
with the card, whose OWNER/NAME becomes the repository's. Files of an earlier push that are no more are deleted there
(its history keeps them). The token is the one that `hf auth login` stored, or that of the variable HF_TOKEN. What was
sent is not sent again.
"""

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset.licences import is_unknown
from pipeline.dataset.made import made
from pipeline.errors import BadRecipe, Stop
from pipeline.store import Store

# Our own records, which say nothing to others.
_OURS_ALONE = frozenset({"step.json", "phase.json"})
_INDEX, _ONE_FILE = "model.safetensors.index.json", "model.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_PLACEHOLDER = re.compile(r"\bOWNER/[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What can be pushed: a folder of the run, as which type of repository."""

    what: str
    folder: str
    job: str
    repository: str
    replaced: tuple[str, ...]
    """Patterns of files that are deleted there when the folder has them no more."""
    address: str
    """What the address of such a repository has before OWNER/NAME."""

    def names(self, store: Store) -> list[str]:
        """Its files, from the run's root."""
        found = store.names_below(self.folder)
        return [name for name in found if name.removeprefix(f"{self.folder}/") not in _OURS_ALONE]


_DATASET = _Kind(
    what="data set",
    folder="dataset",
    job="choose",
    repository="dataset",
    replaced=("train-*.parquet", "validation-*.parquet", "preference/*.parquet", "plots/*"),
    address="datasets/",
)
_MODEL = _Kind(
    what="model",
    folder="model",
    job="train",
    repository="model",
    replaced=("*.safetensors", _INDEX, "adapter/*"),
    address="",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Push, or say what would be pushed; exits 0 only when all of it is on the Hub."""
    asked = _parser().parse_args(arguments)
    try:
        _push(asked)
    except (Stop, OSError, pa.ArrowInvalid) as error:
        print(f"error: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _push(asked: argparse.Namespace) -> None:
    if not _REPOSITORY.fullmatch(asked.to):
        raise BadRecipe(f"{asked.to!r} is no repository: write OWNER/NAME, with letters, digits, dots and dashes")
    kind = _MODEL if asked.model else _DATASET
    store = _ready(asked.run, kind)
    names = kind.names(store)
    if kind is _MODEL:
        _whole(store, names)
    # A model is pushed under the licences of the rows that it was trained on.
    named = _licences(store, _DATASET.names(store)) | (_outside(store) if kind is _MODEL else set())
    unknown = sorted(filter(is_unknown, named))
    _say(store, names, asked, kind, unknown)
    if asked.dry_run:
        return
    if asked.public and unknown:
        where = "sources (or the phase with their dataset)"
        raise Stop(f"nothing is known of the licence of some rows: name it in the recipe's {where}, or push privately")
    with _staged(store, names, kind, repository=asked.to) as folder:
        url = _send(folder, asked.to, kind, public=asked.public)
    print(f"pushed: {url}")


def _ready(run: str, kind: _Kind) -> Store:
    """A run whose folder of that kind is complete; a recipe's must be of that very recipe. Raises Stop for others."""
    if run.endswith((".yaml", ".yml")) and "://" not in run and Path(run).is_file():
        # Reading a recipe needs all that a recipe can name.
        from jobs.recipe_file import load
        from jobs.steps import steps_of, store_of

        recipe = load(run)
        step = steps_of(recipe).named(kind.job)
        if step is None or (state := step.state()) != "done":
            why = {"stale": "was made by another version of this recipe", "begun": "is not complete"}
            raise Stop(f"the {kind.what} {why.get(state, 'is not there')}: run jobs.{kind.job} first (or jobs.run)")
        return store_of(recipe)
    store, mark = Store(run), f"{kind.folder}/step.json"
    if not store.exists("recipe.yaml"):
        raise Stop(f"no run at {store.root}: give a run's folder or URI (<storage>/<name>), or its recipe's .yaml file")
    if not store.exists(mark) or not store.read_json(mark).get("done"):
        raise Stop(f"the {kind.what} of {store.root} is not complete: run jobs.{kind.job} first (or jobs.run)")
    return store


def _whole(store: Store, names: Sequence[str]) -> None:
    """Raise Stop for a model that lacks one of its files."""
    held = {name.removeprefix(f"{_MODEL.folder}/") for name in names}
    weights = store.read_json(f"{_MODEL.folder}/{_INDEX}")["weight_map"].values() if _INDEX in held else [_ONE_FILE]
    if missing := sorted({"config.json", "README.md", *weights} - held):
        raise Stop(f"the model of {store.root} lacks {missing[0]}: run jobs.train again (or jobs.run)")


def _licences(store: Store, names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        if name.endswith(".parquet") and "licence" in store.columns(name):
            values = pc.unique(store.read_columns(name, ["licence"])["licence"]).to_pylist()
            found.update(value or "unknown" for value in values)
    return found


def _outside(store: Store) -> set[str]:
    """The licences of rows from outside that the model was trained on."""
    return set(made(store, {}).outside.values())


def _say(store: Store, names: Sequence[str], asked: argparse.Namespace, kind: _Kind, unknown: Sequence[str]) -> None:
    """What is sent and where to, and what a person should look at before."""
    would = "would push" if asked.dry_run else "pushes"
    print(f"{would} {len(names)} files to {asked.to} ({'public' if asked.public else 'private'})", flush=True)
    for name in names if asked.dry_run else []:
        rows = f"  {store.rows(name):,} rows" if name.endswith(".parquet") else ""
        print(f"  {name.removeprefix(kind.folder + '/')}{rows}")
    for licence in unknown:
        print(f"check: the licence of some rows is {licence!r}: find out what it is before you share them")
    print("check: the teacher's terms decide whether its texts may be shared and trained on (see the card)")
    if kind is _MODEL:
        print("check: the base model's licence decides whether what was trained from it may be shared, and how")


@contextlib.contextmanager
def _staged(store: Store, names: Sequence[str], kind: _Kind, *, repository: str) -> Iterator[Path]:
    """A folder with the files as the repository shall hold them: links to local ones, copies of others, the card."""
    with tempfile.TemporaryDirectory(prefix="longthought-push-") as name:
        folder = Path(name)
        for each in names:
            target = folder / each.removeprefix(f"{kind.folder}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target == folder / "README.md":
                card = store.read_text(each)
                target.write_text(_PLACEHOLDER.sub(repository, card))
            elif store.is_local and "://" not in store.root:
                target.symlink_to(store.address(each))
            else:
                store.copy_out(each, target)
        yield folder


def _send(folder: Path, repository: str, kind: _Kind, *, public: bool) -> str:
    """Create the repository if it is not there, upload, and give its address. Raises Stop with one line."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import disable_progress_bars

    if not get_token():
        raise Stop("no token for the Hub: run `hf auth login`, or set HF_TOKEN to a token that may write")
    api = HfApi()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        _prepare(api, repository, kind, public=public)
        api.upload_folder(
            repo_id=repository,
            repo_type=kind.repository,
            folder_path=folder,
            delete_patterns=list(kind.replaced),
            commit_message=f"{kind.what.capitalize()} and card, made with Longthought",
        )
    except (HTTPError, OSError, ValueError) as error:
        raise Stop(_reason(error, repository)) from error
    except RuntimeError as error:
        # What the library makes of a large file that did not come through.
        cause = error.__cause__
        raise Stop(_reason(cause if isinstance(cause, Exception) else error, repository)) from error
    return f"{api.endpoint}/{kind.address}{repository}"


def _prepare(api: Any, repository: str, kind: _Kind, *, public: bool) -> None:
    """Make sure the repository is there, and not seen by more people than was asked."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        private = api.repo_info(repository, repo_type=kind.repository).private
    except RepositoryNotFoundError:
        # Another's private one looks the same as none: making it then fails, and says why.
        api.create_repo(repository, repo_type=kind.repository, private=not public)
        return
    if not private and not public:
        raise Stop(f"{repository} is there and public: push with --public, make it private, or take another name")


def _reason(error: Exception, repository: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = (str(getattr(error, "server_message", "") or error).strip().splitlines() or [type(error).__name__])[0]
    if status == 401:
        return f"the Hub does not know the token: run `hf auth login` again, or set HF_TOKEN ({said})"
    if status in (403, 404, 409):
        return f"the token may not write to {repository}: it needs write access to what that owner has there ({said})"
    return f"the Hub could not take it, nothing is lost, run the same command again ({said})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder or URI, such as runs/demo, or the recipe that makes it")
    parser.add_argument("to", metavar="OWNER/NAME", help="the repository on the Hub; it is made if it is not there")
    parser.add_argument(
        "--public", action="store_true", help="everybody may see it; refused where a licence is unknown"
    )
    parser.add_argument("--model", action="store_true", help="push the model instead of the data set")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    return parser


if __name__ == "__main__":
    main()
