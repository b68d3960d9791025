"""Bring an index in line with the disk, encoding only what changed.

A file's new chunks are written beside its old ones, which go when the last new one is in: no search in between
misses the file. A new file whose content the index holds under another path takes that one's vectors over, be it
moved or copied. A run that is cut off, by Ctrl-C or kill -9, loses at most the group of chunks being encoded; the
next run finds the file it was in, because fewer chunks are there than the file has, and takes it again.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from unbraid.errors import DataError, ImageError
from unbraid.index.files.chunk import Chunk
from unbraid.index.files.language import language
from unbraid.index.files.read import chunk_file
from unbraid.index.files.read_pdf import PDF_SUFFIXES, can_read_pdf
from unbraid.index.files.walk import File, Skipped, Skips, resolve_roots, walk
from unbraid.index.protocol import Model, Vectors
from unbraid.index.store.entry import Entry, Fields
from unbraid.index.store.file_state import FileState
from unbraid.index.store.filter import merged
from unbraid.index.store.protocol import Collection
from unbraid.items import Code, Item, Modality
from unbraid.progress import track

PICTURE = Chunk(None, None, "")
GROUP = 512  # chunks encoded and written at once: enough to batch by length and for a sync of the disk, little to lose


@dataclass
class Report:
    """What `update` did, in files; `changed` counts those that an earlier run left unfinished too."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    moved: int = 0  # or copied: their content was in the index under another path, nothing was encoded
    deleted: int = 0  # gone, and not found again elsewhere
    chunks: int = 0  # encoded and written
    skipped: dict[str, Skipped] = field(default_factory=dict)  # by reason
    seconds: dict[str, float] = field(default_factory=dict)  # by phase: walk, read, encode, write
    interrupted: bool = False  # by Ctrl-C: what is counted above is in the index, the rest is not


@dataclass(frozen=True)
class _Row:
    """A chunk on its way into the store: what to encode and what to store with it."""

    item: Item
    entry: Entry

    @property
    def last(self) -> bool:
        return self.entry.chunk == self.entry.chunks - 1


def update(
    store: Collection,
    model: Model,
    paths: Iterable[str | Path],
    *,
    fields: Fields = MappingProxyType({}),
    progress: bool | None = False,
) -> Report:
    """Index the files under `paths`, skip those that have not changed, and drop those that are gone.

    Only what lies under `paths` is looked at. A file is unchanged when its size and modification time are, or
    else its sha256. Gone is what the walk no longer yields, be it deleted, ignored or no longer readable as text
    or a picture; but what lies in a folder or file that cannot be read now stays. Raises DataError for a path
    that does not exist. `fields` are added to what is known of every file under `paths`, an empty value takes one
    away; a file keeps those it has. Ctrl-C ends the run and sets `interrupted`; what was written stays. `progress` None draws
    a bar only where a person watches standard error.
    """
    run = _Run(store, model, fields)
    try:
        run(resolve_roots(paths), progress)
    except KeyboardInterrupt:
        run.report.interrupted = True
    run.report.skipped = run.skips.reasons
    return run.report


class _Run:
    """One update under way."""

    def __init__(self, store: Collection, model: Model, fields: Fields) -> None:
        self.store = store
        self.model = model
        self.fields = fields
        self.report = Report(seconds=dict.fromkeys(("walk", "read", "encode", "write"), 0.0))
        self.skips = Skips()
        self.known: dict[str, FileState] = {}
        self.present: set[str] = set()  # paths that the index holds as they are on disk
        self.restated: dict[str, tuple[int, Fields]] = {}  # same content: modification time in ns, fields

    def __call__(self, roots: Sequence[Path], progress: bool | None) -> None:
        with self._phase("walk"):
            files = [file for file in walk(roots, self.skips) if self._encodable(file)]
            self.known = self.store.files()
            stale = [file for file in files if not self._unchanged_by_stat(file)]
            copies = self._held_elsewhere(stale)
        with self._phase("write"):
            taken = self._take_over(copies)
            stale = [file for file in stale if file.path.as_posix() not in taken]
        for group in _groups(self._rows(track(stale, "indexing", unit="files", shown=progress)), GROUP):
            self._write(group)
        with self._phase("write"):
            self.store.restate(self.restated)
            gone = [
                path for path in self.known if path not in self.present and self._is_gone(Path(path), roots)
            ]
            self.store.delete(gone)
            self.store.settle()
        found_again = {copies[path][0] for path in taken}
        self.report.deleted = sum(path not in found_again for path in gone)

    def _held_elsewhere(self, files: Iterable[File]) -> dict[str, tuple[str, int]]:
        """New files whose content the index has whole under another path: {path: (that path, mtime in ns)}.

        Only those are read that have the size of such a file. The suffix has to be the same too: it decides how a
        file is cut and encoded.
        """
        held: dict[tuple[int, str], dict[str, str]] = {}  # by size and suffix: content -> path
        for path, state in self.known.items():
            if state.complete:
                held.setdefault((state.size, Path(path).suffix.lower()), {})[state.sha256] = path
        copies = {}
        for file in files:
            same_size = held.get((file.size, file.path.suffix.lower()))
            if same_size is None or file.path.as_posix() in self.known:
                continue
            try:
                sha256 = hashlib.sha256(file.path.read_bytes()).hexdigest()
            except OSError:  # told when it is to be encoded
                continue
            if sha256 in same_size:
                copies[file.path.as_posix()] = (same_size[sha256], file.mtime_ns)
        return copies

    def _take_over(self, copies: Mapping[str, tuple[str, int]]) -> set[str]:
        """Store `copies`, some hundred chunks at a time; returns those that are in."""
        taken: set[str] = set()
        group: dict[str, tuple[str, int]] = {}
        chunks = 0
        for path, copy in copies.items():
            group[path] = copy
            chunks += self.known[copy[0]].expected
            if chunks >= GROUP:
                taken |= self.store.take_over(group, self.fields)
                group, chunks = {}, 0
        taken |= self.store.take_over(group, self.fields)
        self.present |= taken
        self.report.moved = len(taken)
        return taken

    def _encodable(self, file: File) -> bool:
        """Whether the file can be read and encoded here; if not, what a fuller installation or bundle put in stays."""
        if file.modality not in self.model.modalities:
            reason = f"no {file.modality} encoder"
        elif file.path.suffix.lower() in PDF_SUFFIXES and not can_read_pdf():
            reason = "PDF, read with: pip install 'unbraid[documents]'"
        else:
            return True
        self.skips.add(reason, file.path)
        self.present.add(file.path.as_posix())
        return False

    def _unchanged_by_stat(self, file: File) -> bool:
        path = file.path.as_posix()
        state = self.known.get(path)
        if state is None or not state.complete or (state.size, state.mtime_ns) != (file.size, file.mtime_ns):
            return False
        self._keep(path, file.mtime_ns)
        return True

    def _keep(self, path: str, mtime_ns: int) -> None:
        """Count a file whose content is the one indexed, and note what else there is to remember of it."""
        self.present.add(path)
        self.report.unchanged += 1
        state, fields = self.known[path], self._fields(path)
        if (state.mtime_ns, state.fields) != (mtime_ns, fields):
            self.restated[path] = (mtime_ns, fields)

    def _fields(self, path: str) -> Fields:
        known = self.known.get(path)
        return merged(known.fields if known else {}, self.fields)

    def _rows(self, files: Iterable[File]) -> Iterator[_Row]:
        """The chunks of every file whose content is new."""
        for file in files:
            with self._phase("read"):
                rows = self._read(file)
            yield from rows

    def _read(self, file: File) -> list[_Row]:
        """The chunks of one file, none when its content is the one indexed or not worth indexing."""
        path = file.path.as_posix()
        try:
            data = file.path.read_bytes()
        except OSError:  # deleted or locked since the walk
            self.skips.add("unreadable", file.path)
            return []
        sha256 = hashlib.sha256(data).hexdigest()
        state = self.known.get(path)
        if state is not None and state.complete and state.sha256 == sha256:
            self._keep(path, file.mtime_ns)
            return []
        try:
            chunks = [PICTURE] if file.modality == "image" else chunk_file(data, file.path.suffix)
        except DataError as error:
            self.skips.add(str(error), file.path)
            return []
        if not chunks:
            self.skips.add("empty", file.path)
        fields = self._fields(path)
        return [
            _Row(
                _item(file.path, part, self._modality(file, part)),
                Entry(
                    path=path,
                    modality=self._modality(file, part),
                    first_line=part.first_line,
                    last_line=part.last_line,
                    snippet=part.snippet,
                    context=" > ".join(part.context),
                    sha256=sha256,
                    size=len(data),
                    mtime_ns=file.mtime_ns,
                    chunk=number,
                    chunks=len(chunks),
                    language="" if file.modality == "image" else language(file.path.suffix),
                    fields=fields,
                ),
            )
            for number, part in enumerate(chunks)
        ]

    def _modality(self, file: File, part: Chunk) -> Modality:
        """The chunk's own, such as text in a notebook, where the model encodes that; else the file's."""
        return part.modality if part.modality in self.model.modalities and part.modality else file.modality

    def _write(self, group: list[_Row]) -> None:
        """Encode and store one group, then drop the older content of each file that ends in it."""
        with self._phase("encode"):
            rows, vectors = self._encode(group)
        with self._phase("write"):
            self.store.upsert([row.entry for row in rows], vectors)
            ended = [row.entry for row in rows if row.last]
            self.store.delete_older(entry for entry in ended if entry.path in self.known)
        self.report.chunks += len(rows)
        for entry in ended:
            self.present.add(entry.path)
            if entry.path in self.known:
                self.report.changed += 1
            else:
                self.report.added += 1

    def _encode(self, rows: list[_Row]) -> tuple[list[_Row], Vectors]:
        """The rows that can be encoded, and their vectors; a broken picture is left out and counted."""
        try:
            return rows, self._vectors(rows)
        except (ImageError, OSError):
            pass  # at least one picture: take the pictures one by one
        encoded = [row for row in rows if row.entry.modality != "image"]
        parts = [self._vectors(encoded)]
        for row in rows:
            if row.entry.modality == "image":
                try:
                    parts.append(self._vectors([row]))
                    encoded.append(row)
                except (ImageError, OSError):
                    self.skips.add("broken picture", row.entry.path)
        return encoded, np.concatenate(parts)

    def _vectors(self, rows: list[_Row]) -> Vectors:
        # Chunks are cut to the encoder's length: the few that are a word too long are no reason to warn.
        return self.model.encode([row.item for row in rows], on_truncate="ignore", progress=False)

    def _is_gone(self, path: Path, roots: Sequence[Path]) -> bool:
        def below(tops: Iterable[Path]) -> bool:
            return any(path == top or top in path.parents for top in tops)

        return below(roots) and not below(self.skips.unreadable)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.report.seconds[name] += time.perf_counter() - start


def _item(path: Path, part: Chunk, modality: Modality) -> Item:
    if modality == "image":
        return path
    return Code(part.encoded) if modality == "code" else part.encoded


def _groups(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    group: list[_Row] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
