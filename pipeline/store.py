"""A run's folder: a local path or any URI that pyarrow.fs opens. Files are written whole or not at all.

A URI may carry options after a `?`, such as s3://bucket/runs?endpoint_override=host:9000&scheme=http; they go to
pyarrow and stay behind every name. Keys are no such options: they come from where the provider's own tools look.

Local files are written beside their place, synced and moved into it; object stores show an object only once it is
complete. So a file that is there is finished: it is its own done mark.
"""

import contextlib
import errno
import io
import mmap
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import xxhash

from pipeline import row_groups
from pipeline.errors import BadRecipe, Stop

_BLOCK_BYTES = 1 << 22
_PASSWORD = re.compile(r"://[^/?@]*:[^/?@]*@|[?&][^=&]*(?:secret|password|token)[^=&]*=", re.IGNORECASE)
_SPOOL_BYTES = 1 << 24
_REASONS = {
    errno.ENOSPC: "no space is left on the disk: free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some and run the same command again",
    errno.EACCES: "no permission to write there",
    errno.EROFS: "the file system is read-only",
}


@dataclass(frozen=True)
class Store:
    """Reads and writes files below one root; names are relative to it, with forward slashes."""

    root: str
    elsewhere: tuple[tuple[str, str], ...] = ()
    """Folders and files that lie below another root, each with that root: what a run takes of another one."""

    def __post_init__(self) -> None:
        if "://" in self.root and _PASSWORD.search(self.root):
            # It would be shown in messages and lie in recipe.yaml.
            raise BadRecipe("storage must hold no key or password: set it where the provider's own tools look for it")
        if "://" not in self.root:
            object.__setattr__(self, "root", str(Path(self.root).expanduser().absolute()))

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine (or a mount of it)."""
        return "://" not in self.root or self.root.startswith("file://")

    def root_of(self, name: str) -> str:
        """The root that a name is below."""
        found = (root for folder, root in self.elsewhere if name == folder or name.startswith(f"{folder}/"))
        return next(found, self.root)

    def address(self, name: str) -> str:
        """The full path or URI of a file, as other libraries open it."""
        root = self.root_of(name)
        folder, mark, options = root.partition("?") if "://" in root else (root, "", "")
        return f"{folder.rstrip('/')}/{name}{mark}{options}" if name else self.root

    def exists(self, name: str) -> bool:
        """Whether a finished file or a folder of that name is there."""
        fs, base = _open(self.root_of(name))
        return bool(fs.get_file_info(f"{base}/{name}").type != pafs.FileType.NotFound)

    def names(self, folder: str, suffix: str = "") -> list[str]:
        """The sorted names of the finished files directly in a folder; none if there is no such folder."""
        fs, base = _open(self.root_of(folder))
        found = fs.get_file_info(pafs.FileSelector(f"{base}/{folder}", allow_not_found=True))
        names = (info.base_name for info in found if info.type == pafs.FileType.File)
        return sorted(name for name in names if name.endswith(suffix) and not name.startswith("."))

    def names_below(self, folder: str, suffix: str = "") -> list[str]:
        """The sorted names, from the root, of the finished files anywhere below a folder."""
        fs, base = _open(self.root_of(folder))
        found = fs.get_file_info(pafs.FileSelector(f"{base}/{folder}", allow_not_found=True, recursive=True))
        files = (info for info in found if info.type == pafs.FileType.File and not info.base_name.startswith("."))
        return sorted(info.path[len(base) + 1 :] for info in files if info.base_name.endswith(suffix))

    def size(self, name: str) -> int:
        """The bytes of a file."""
        fs, base = _open(self.root_of(name))
        return int(fs.get_file_info(f"{base}/{name}").size)

    def stamp(self, suffix: str) -> str:
        """A hash of the names, sizes and times of the files directly in the root."""
        fs, base = _open(self.root)
        found = fs.get_file_info(pafs.FileSelector(base))
        files = ((info.base_name, info.size, info.mtime_ns) for info in found if info.base_name.endswith(suffix))
        return xxhash.xxh3_128_hexdigest(repr(sorted(files)).encode())

    def rows(self, name: str) -> int:
        """The number of rows of a Parquet file, from its footer."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            return int(pq.read_metadata(source).num_rows)

    def columns(self, name: str) -> list[str]:
        """The names of the columns of a Parquet file, from its footer."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            return list(pq.read_schema(source).names)

    def read_metadata(self, name: str) -> dict[bytes, bytes]:
        """What the footer of a Parquet file says of it, beside its columns."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            return dict(pq.read_schema(source).metadata or {})

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The whole Parquet file, or some of its columns."""
        fs, base = _open(self.root_of(name))
        with self._reading(name):
            return pq.read_table(f"{base}/{name}", filesystem=fs, columns=columns, partitioning=None)

    def read_parts(self, name: str, rows: row_groups.Ints | None = None) -> Iterator[pa.Table]:
        """A Parquet file in parts of bounded size, in order; of `rows`, sorted numbers, only those.

        There is at least one part, so that what is made of a file without rows has its columns.
        """
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            yield from row_groups.parts(source, rows)

    def read_columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Those of these columns that a Parquet file has; older files may lack some."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            file = pq.ParquetFile(source)
            return file.read([column for column in columns if column in file.schema_arrow.names])

    def read_json(self, name: str) -> Any:
        """The value of a JSON file."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_stream(f"{base}/{name}") as stream:
            return orjson.loads(stream.read())

    def read_text(self, name: str) -> str:
        """A text file."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_stream(f"{base}/{name}") as stream:
            return bytes(stream.read()).decode()

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a Parquet file, whole or not at all."""
        with self.writing(name) as write:
            write(table)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Callable[[pa.Table], None]]:
        """Write a Parquet file table by table, whole or not at all; where no table comes there is no file.

        The file is the same in whatever tables its rows come. At most PART_BYTES of rows are held beside a table.
        """
        failed: OSError | None = None
        with contextlib.suppress(_BrokenOff), contextlib.ExitStack() as stack:
            opened: list[row_groups.GroupWriter] = []

            def write(table: pa.Table) -> None:
                try:
                    if not opened:
                        sink = stack.enter_context(self._whole(name))
                        opened.append(stack.enter_context(row_groups.GroupWriter(sink)))
                    opened[0].write(table)
                except OSError as error:
                    raise self._unwritten(name, error) from error

            try:
                yield write
            except OSError as error:
                # Not of this file, but of what its tables are made of.
                failed = error
                raise _BrokenOff from error
        if failed is not None:
            raise failed

    def write_batches(self, name: str, tables: Sequence[pa.Table]) -> None:
        """Write tables of one schema into one Arrow file (lz4), from which `read_batch` takes one out."""
        whole = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(whole, tables[0].schema, options=options) as writer:
            for table in tables:
                writer.write_batch(table.combine_chunks().to_batches()[0] if len(table) else _no_rows(table.schema))
        self.write_bytes(name, whole.getvalue())

    def read_batch(self, name: str, number: int) -> pa.Table:
        """One of the tables that `write_batches` wrote; the others are not read."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_file(f"{base}/{name}") as source:
            return pa.Table.from_batches([pa.ipc.open_file(source).get_batch(number)])

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, indented, whole or not at all."""
        self.write_bytes(name, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._whole(name) as sink:
            sink.write(content)

    @contextlib.contextmanager
    def writing_bytes(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file block by block, whole or not at all."""
        with self._whole(name) as sink:
            yield sink

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        fs, base = _open(self.root_of(name))
        with contextlib.suppress(FileNotFoundError):
            fs.delete_file(f"{base}/{name}")

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all in it; one that is gone already is no error."""
        fs, base = _open(self.root_of(folder))
        with contextlib.suppress(FileNotFoundError):
            fs.delete_dir(f"{base}/{folder}")

    def copy_folder(self, source: str, target: str, *, leave_out: frozenset[str] = frozenset()) -> None:
        """Copy the files of a folder into another, each whole or not at all."""
        fs, base = _open(self.root_of(source))
        for name in sorted(set(self.names(source)) - leave_out):
            with fs.open_input_stream(f"{base}/{source}/{name}") as stream, self._whole(f"{target}/{name}") as sink:
                while block := stream.read(_BLOCK_BYTES):
                    sink.write(block)

    def read_blocks(self, name: str) -> Iterator[bytes]:
        """A file's content, block by block."""
        fs, base = _open(self.root_of(name))
        with self._reading(name), fs.open_input_stream(f"{base}/{name}") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block

    def copy_out(self, name: str, target: Path) -> None:
        """Copy a file to a local path."""
        with target.open("wb") as sink:
            for block in self.read_blocks(name):
                sink.write(block)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            # An object that goes while it is open ends in an error of its provider's own kind.
            if self.exists(name):
                if error.errno is None and self.is_local:
                    # A page or footer that is damaged is an OSError without a number.
                    raise pa.ArrowInvalid(f"{self.address(name)} is damaged: {error}") from error
                raise
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.address(name)) from error

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[IO[bytes]]:
        fs, base = _open(self.root_of(name))
        try:
            if self.is_local:
                with _local_whole(Path(base) / name) as sink:
                    yield sink
            else:
                # A large file waits on this machine's disk.
                with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as whole:
                    yield cast(IO[bytes], whole)
                    content = _content(whole)
                    # In one go, after all else worked: closing a stream halfway would publish what it has.
                    with fs.open_output_stream(f"{base}/{name}") as sink:
                        sink.write(content)
        except OSError as error:
            raise self._unwritten(name, error) from error

    def _unwritten(self, name: str, error: OSError) -> Stop:
        return Stop(f"can't write {self.address(name)}: {_REASONS.get(error.errno or 0, error.strerror or str(error))}")


class _BrokenOff(Exception):
    """What makes the tables of a file ended in an error of its own."""


_opened: dict[str, tuple[pafs.FileSystem, str]] = {}
_opening = threading.Lock()


def _open(root: str) -> tuple[pafs.FileSystem, str]:
    with _opening:
        if root not in _opened:
            try:
                fs, base = pafs.FileSystem.from_uri(root)
            except (pa.ArrowInvalid, OSError) as error:
                raise Stop(f"can't open storage {root}: {error}") from error
            _opened[root] = (fs, base.rstrip("/"))
        return _opened[root]


@contextlib.contextmanager
def _local_whole(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot keeps a half-written file out of `names` and out of *.parquet patterns.
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    try:
        with beside.open("wb") as sink:
            yield cast(IO[bytes], sink)
            sink.flush()
            os.fsync(sink.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _content(whole: "tempfile.SpooledTemporaryFile[bytes]") -> bytes | mmap.mmap:
    """All that was written, without a copy in memory where it lies on disk."""
    if whole.tell() > _SPOOL_BYTES:
        whole.flush()
        return mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ)
    whole.seek(0)
    return whole.read()


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
