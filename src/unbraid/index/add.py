"""Bring roots of an index in line with the disk, encoding only what changed. Follow `_Run.run` to follow one file.

A file's new chunks are written beside its old ones, which are deleted when the last new one is in: no search in between
misses the file. A new file whose content the index holds under another path, moved or copied, gets that file's vectors.
While one group of chunks is encoded, the next one is read and the one before is written, in a thread each. A run that is cut
off by kill -9 loses at most the groups being encoded and written; Ctrl-C loses only the group being encoded. The next run
finds the file it stopped in, because the index has fewer chunks than the file, and reads it again.

A root that is missing, is empty where it was not or has lost most of its files may be a disk that is not mounted. Nothing
is deleted below it unless the caller says so (`prune`).

Words in pictures are read at the end, by add_words.py: by then everything can be searched by what it shows.
"""

import hashlib
import io
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from unbraid.errors import DataError, ImageError, install_command
from unbraid.index.add_tokens import delete_files, folder_of, store_tokens
from unbraid.index.add_words import add_words, unread
from unbraid.index.encode_rows import Row, encode_rows
from unbraid.index.files.chunk import Chunk, Count, cut_sections, limit_of
from unbraid.index.files.content import FileContent
from unbraid.index.files.language import language
from unbraid.index.files.read import read_file
from unbraid.index.files.read_archive import read_archive
from unbraid.index.files.read_document import not_read
from unbraid.index.files.read_pdf import PDF_SUFFIXES, Pdf, can_read_pdf, page_lines
from unbraid.index.files.read_words import WordReader, can_read_words
from unbraid.index.files.walk import ARCHIVE_SUFFIXES, File, Skip, Skipped, Walk, suffix_of
from unbraid.index.protocol import Model, Vectors
from unbraid.index.roots import Nearest, Plan, Root, owners
from unbraid.index.search.token_cache import TokenCache
from unbraid.index.side_threads import ahead, behind, taking_turns
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.filter import merged
from unbraid.index.store.store import Store
from unbraid.index.under_way import telling
from unbraid.items import Code, Item, Modality
from unbraid.progress import counting

PICTURE = Chunk(None, None, "", modality="image")
GROUP = 256  # chunks encoded and written at once: enough to batch by length and for a sync of the disk, little to lose
FIRST_GROUP = 64  # for which nothing is encoded until it is read
PAGES = 64  # pages among them, which are 1 MB each once they are decoded
MANY = 10  # files of a root, of which the loss of more than half has to be confirmed
PAGE_SIDE = 640  # pixels of a page's longer side: four times what the starter's image encoder looks at


def lost_most(lost: int, held: int) -> bool:
    """Whether so many of the files that the index holds of a root are gone that a person has to confirm it."""
    return held >= MANY and 2 * lost > held


@dataclass(frozen=True)
class Doubt:
    """A root below which nothing was deleted, since it looks like a disk that is not mounted."""

    root: str
    reason: str  # "is missing", "is empty", "has lost most of its files"
    lost: int  # files of the index that are gone from it
    files: int  # that the index has of it

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.root} {self.reason}: {self.lost:,} of {self.files:,} files are gone"


@dataclass
class Report:
    """What `add` did, in files; `changed` counts those that an earlier run left unfinished too."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    moved: int = 0  # or copied: their content was in the index under another path, nothing was encoded
    deleted: int = 0  # gone, and not found again elsewhere
    chunks: int = 0  # encoded and written
    words_read: int = 0  # files with pictures that were read
    words_found: int = 0  # of these, with words in them
    # Files with pictures that were not read, since that needs unbraid[ocr] or its models are damaged.
    words_unread: int = 0
    words_fault: str | None = None  # what is wrong with the models
    skipped: list[Skipped] = field(default_factory=list)  # every file and folder left out, with its reason
    doubts: list[Doubt] = field(default_factory=list)  # roots below which nothing was deleted
    left_out: int = 0  # passages of base64 and of paths of drawings
    assumed: list[Skipped] = field(default_factory=list)  # files read in an encoding that nothing names
    # By phase: walk; read, encode and write, which overlap; words, where any were looked for.
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False  # by Ctrl-C: what is counted above is in the index, the rest is not


def add_files(
    store: Store,
    model: Model,
    plan: Plan,
    known: Mapping[str, FileState],
    *,
    prune: bool = False,
    on_skip: Skip | None = None,
    progress: bool | None = None,
) -> Report:
    """Index what `plan` names, skip files that have not changed, and delete those that are gone.

    `known` is what `store.files()` gave. Words in pictures are read at the end, where that is installed and the root wants
    it. Without `prune` nothing is deleted below a root that may not be mounted: it is one of `doubts`. `on_skip` is told
    each file that is left out.
    """
    run = _Run(store, model, plan, known, on_skip)
    try:
        run.run(prune, progress)
        run.read_words(progress)
    except KeyboardInterrupt:
        run.report.interrupted = True
    return run.report


class _Run:
    """One run under way."""

    def __init__(
        self,
        store: Store,
        model: Model,
        plan: Plan,
        known: Mapping[str, FileState],
        on_skip: Skip | None,
    ) -> None:
        self.store, self.model, self.plan, self.known, self.on_skip = store, model, plan, known, on_skip
        self.owners = owners(plan.roots)
        limit = limit_of(model)
        self.limit = replace(limit, count=self._giving_way(limit.count))
        self.report = Report(seconds=dict.fromkeys(("walk", "read", "encode", "write"), 0.0))
        self.present: set[str] = set()  # paths that the index holds as they are on disk
        self.pictured: set[str] = set()  # files on the disk that are pictures or may hold some
        self.renewed: list[tuple[str, str, int]] = []  # same content, another time or other fields
        self.wrote = False
        self.tokens = TokenCache(folder_of(store))

    def run(self, prune: bool, progress: bool | None) -> None:
        """Walk; move what is known under another path; read, encode and write the rest; delete what is gone."""
        with self._timed("walk"):
            walked = list(self._walk())
            self.pictured = {
                file.name for file in walked if file.modality == "image" or file.suffix in PDF_SUFFIXES
            }
            stale = [file for file in walked if self._can_encode(file) and not self._unchanged_by_stat(file)]
            copies = self._find_copies(stale)
            if not prune:
                self.report.doubts = self._doubts(walked, {old for old, _, _ in copies})
        with self._timed("write"):
            moved = self._store_again(copies)
            self.present |= moved
            self.report.moved = len(moved)
        stale = [file for file in stale if file.name not in moved]
        with (
            self._counting("indexing", "files", len(stale), progress) as done,
            ahead(lambda stop: self._groups(stale, stop)) as groups,
            behind(self._store) as store,
            taking_turns(),
        ):
            for rows, files in groups:
                if not rows:  # files that have not changed after all, or were left out
                    done(files)
                    continue
                self.store.give_way()
                with self._timed("encode"):
                    entries, vectors = self._encode(rows)
                    self._store_tokens(entries)
                store(entries, vectors, partial(done, files))
        with self._timed("write"):
            self._store_again(self.renewed)
            doubted = {doubt.root for doubt in self.report.doubts}
            unseen = [path for path in self._unseen(self.present) if self._root(path).path not in doubted]
            gone = list(dict.fromkeys([*unseen, *self._replaced()]))
            found_again = {old for old, new, _ in copies if new in moved}
            delete_files(self.store, gone, self.tokens, found_again)
            self.store.settle()
            self.wrote |= bool(gone)
        self.report.deleted = sum(path not in found_again for path in gone)

    def _root(self, path: str) -> Root:
        """The root that a path belongs to, in the end: one that was left for another belongs to none."""
        return self.owners.of(path) or _NO_ROOT

    def _skip(self, skipped: Skipped) -> None:
        self.report.skipped.append(skipped)
        if self.on_skip is not None:
            self.on_skip(skipped)

    def _walk(self) -> Iterator[File]:
        """The files on the disk, each once."""
        stamps = {path: (state.size, state.mtime_ns) for path, state in self.known.items()}
        roots = {root.path for root in self.plan.roots}
        walks: dict[str, Walk] = {}
        seen: set[str] = set()
        for scope in self.plan.scopes:
            if not os.path.lexists(scope):
                continue
            root = self._root(scope.as_posix())
            if root.path not in walks:
                apart = roots - {root.path}
                walks[root.path] = Walk(Path(root.path), self._skip, root.choice, apart=apart, known=stamps)
            for file in walks[root.path].files(scope):
                if file.name not in seen:
                    seen.add(file.name)
                    yield file

    def _unseen(self, seen: AbstractSet[str]) -> list[str]:
        """Files of the index in what is looked at that are not among `seen`; what cannot be read now counts as seen."""
        scopes = Nearest({scope.as_posix(): self._root(scope.as_posix()) for scope in self.plan.scopes})
        unreadable = self._unreadable()
        return [
            path
            for path in self.known
            if path not in seen
            and (root := scopes.of(path)) is not None
            and root is self._root(path)
            and not unreadable.of(path)
        ]

    def _unreadable(self) -> Nearest[bool]:
        """The files and folders that cannot be read now."""
        skipped = self.report.skipped
        return Nearest({one.path.as_posix(): True for one in skipped if one.reason == "unreadable"})

    def _replaced(self) -> list[str]:
        """Files of the index under the old paths of roots that have moved."""
        left = Nearest(dict.fromkeys(self.plan.left, True))
        return [path for path in self.known if path not in self.present and left.of(path)]

    def _doubts(self, walked: Sequence[File], found: Container[str]) -> list[Doubt]:
        """The roots that have lost so much that they may not be mounted; `found` are files that are elsewhere now."""
        unseen = self._unseen({file.name for file in walked})
        lost = Counter(self._root(path).path for path in unseen if path not in found and _is_gone(path))
        lost.pop(_NO_ROOT.path, None)
        if not lost:
            return []
        held = Counter(self._root(path).path for path in self.known)
        filled = {self._root(file.name).path for file in walked}
        doubts = []
        for root, count in lost.items():
            if not os.path.lexists(root):
                doubts.append(Doubt(root, "is missing", count, held[root]))
            elif count == held[root] and root not in filled:
                doubts.append(Doubt(root, "is empty", count, held[root]))
            elif lost_most(count, held[root]):
                doubts.append(Doubt(root, "has lost most of its files", count, held[root]))
        return doubts

    def _can_encode(self, file: File) -> bool:
        """Whether the file can be read and encoded here; if not, what another installation or bundle put in stays."""
        if file.modality not in self.model.modalities:
            reason = f"no {file.modality} encoder"
        elif file.suffix in PDF_SUFFIXES and not can_read_pdf():
            reason = f"PDF, read with: {install_command('documents')}"
        elif missing := not_read(file.suffix):
            reason = missing
        elif file.suffix in ARCHIVE_SUFFIXES and not self._root(file.name).archives:
            reason = "archive, read with --archives"
        else:
            return True
        self._skip(Skipped(file.path, reason))
        self.present.add(file.name)
        return False

    def _unchanged_by_stat(self, file: File) -> bool:
        state = self.known.get(file.name)
        if state is None or not self._holds_all(file, state):
            return False
        if (state.size, state.mtime_ns) != (file.size, file.mtime_ns):
            return False
        self._keep(file, state)
        return True

    def _holds_all(self, file: File, state: FileState) -> bool:
        """Whether the index has all of the content that it has of a file; not its pages as pictures, if asked for now."""
        pages = file.suffix in PDF_SUFFIXES and self._root(file.name).page_images
        return state.complete and ("pages" in state.seen.split() or not pages)

    def _keep(self, file: File, state: FileState) -> None:
        """Count a file whose content is the one indexed, and note a new time or new fields."""
        path = file.name
        given = self._root(path).fields
        self.present.add(path)
        self.report.unchanged += 1
        if state.mtime_ns != file.mtime_ns or (given and state.fields != merged(state.fields, given)):
            self.renewed.append((path, path, file.mtime_ns))

    def _find_copies(self, files: Iterable[File]) -> list[tuple[str, str, int]]:
        """New files whose content the index has whole under another path: (that path, new path, mtime in ns).

        Only files of the size of such a file are read. The suffix has to be the same too: it decides how a file is cut
        and encoded.
        """
        files = [file for file in files if file.name not in self.known]
        if not files:
            return []
        held: dict[tuple[int, str], dict[str, str]] = {}  # by size and suffix: content -> path
        for path, state in self.known.items():
            if state.complete:
                held.setdefault((state.size, suffix_of(path)), {})[state.sha256] = path
        copies = []
        for file in files:
            same_size = held.get((file.size, file.suffix))
            if same_size is None:
                continue
            try:
                old = same_size.get(hashlib.sha256(file.path.read_bytes()).hexdigest())
            except OSError:  # reported when it is read to be encoded
                continue
            if old is not None:
                copies.append((old, file.name, file.mtime_ns))
        return copies

    def _store_again(self, changes: Iterable[tuple[str, str, int]]) -> set[str]:
        """Store files under a new path, time or fields with the vectors they have: (old path, new path, time).

        Some hundred chunks are written at a time. Returns the new paths that are in; a damaged file is not copied.
        """
        done: set[str] = set()
        entries: list[Entry] = []
        parts: list[Vectors] = []
        waiting: set[str] = set()

        def write() -> None:
            if entries:
                self._store_tokens(entries)  # of a file from a root that has none
                self.store.upsert(entries, np.concatenate(parts))
                self.wrote = True
            done.update(waiting)
            for each in (entries, parts, waiting):
                each.clear()

        for old, new, mtime_ns in changes:
            given = self._root(new).fields
            chunks, vectors = self.store.file(old)
            if new != old and len({one.chunk for one in chunks}) != self.known[old].expected:
                continue
            entries += [
                replace(
                    one,
                    path=new,
                    mtime_ns=mtime_ns,
                    fields=merged(one.fields, given),
                    own_fields=" ".join(name for name in one.own_fields.split() if name not in given),
                )
                for one in chunks
            ]
            parts.append(vectors)
            waiting.add(new)
            if len(entries) >= GROUP:
                write()
        write()
        return done

    def _read(self, file: File) -> list[Row]:
        """The chunks of one file, none when its content is the one indexed or not worth indexing."""
        with self._timed("read"):
            path = file.name
            state = self.known.get(path)
            try:
                data = file.path.read_bytes()
                sha256 = hashlib.sha256(data).hexdigest()
                if state is not None and self._holds_all(file, state) and state.sha256 == sha256:
                    self._keep(file, state)
                    return []
                content, pictures, seen = self._content(file, data, state)
            except OSError:  # deleted or locked since the walk
                self._skip(Skipped(file.path, "unreadable"))
                return []
            except DataError as error:
                self._skip(Skipped(file.path, str(error)))
                return []
            chunks = content.chunks
            self.report.left_out += content.left_out
            if content.assumed:
                self.report.assumed.append(Skipped(file.path, content.assumed))
            given = merged(state.given if state else {}, self._root(path).fields)
            fields = {**content.fields, **given}
            own_fields = " ".join(name for name in content.fields if name not in given)
            for name, reason in content.skipped:
                self._skip(Skipped(Path(f"{file.path}/{name}"), reason))
            if not chunks and not content.skipped:
                self._skip(Skipped(file.path, "base64 or a drawing" if content.left_out else "empty"))
            rows: list[Row] = []
            for number, (chunk, picture) in enumerate(zip(chunks, pictures, strict=True)):
                # A notebook has chunks of text and of code; the file's modality where the model does not encode theirs.
                own = chunk.modality if chunk.modality in self.model.modalities else None
                modality: Modality = own or file.modality
                text = Code(chunk.encoded) if modality == "code" else chunk.encoded
                entry = Entry(
                    path=path,
                    modality=modality,
                    first_line=chunk.first_line,
                    last_line=chunk.last_line,
                    snippet=chunk.snippet,
                    context=" > ".join(chunk.context),
                    sha256=sha256,
                    size=len(data),
                    mtime_ns=file.mtime_ns,
                    chunk=number,
                    chunks=len(chunks),
                    language="" if modality == "image" else language(file.path.suffix),
                    fields=fields,
                    own_fields=own_fields,
                    seen=seen,
                    unit=chunk.unit,
                )
                rows.append((text if picture is None else picture, entry))
            return rows

    def _content(
        self, file: File, data: bytes, state: FileState | None
    ) -> tuple[FileContent, list[Item | None], str]:
        """What a file holds, the picture to encode for each chunk that is one, and what `Entry.seen` says of them."""
        if file.modality == "image":
            return FileContent([PICTURE]), [file.path], ""
        if file.suffix in ARCHIVE_SUFFIXES:
            content = read_archive(data, file.path.name, self.limit)
            return content, [None] * len(content.chunks), ""
        if file.suffix not in PDF_SUFFIXES:
            content = read_file(data, file.path.suffix, self.limit)
            return content, [None] * len(content.chunks), ""
        with Pdf(data) as pdf:
            lines, sections = page_lines(pdf.pages)
            chunks = cut_sections(lines.within(self.limit), sections)
            all_pages = self._root(file.name).page_images or (
                state is not None and "pages" in state.seen.split()
            )
            wanted = range(1, len(pdf.pages) + 1) if all_pages else pdf.without_text
            if "image" not in self.model.modalities:
                wanted = []
            if not chunks and not wanted:
                raise DataError("PDF without text")
            pages: list[Chunk] = []
            drawn: list[Item | None] = []
            for page in wanted:
                try:  # a file of some 30 KB each, decoded with its group
                    drawn.append(Image.open(io.BytesIO(pdf.draw(page, PAGE_SIDE, "JPEG"))))
                    pages.append(Chunk(page, page, "", modality="image"))
                except DataError as error:
                    self._skip(Skipped(file.path, str(error)))
            seen = [name for name, holds in (("scans", pdf.without_text), ("pages", all_pages)) if holds]
            return FileContent([*chunks, *pages]), [*([None] * len(chunks)), *drawn], " ".join(seen)

    def read_words(self, progress: bool | None) -> None:
        """The second pass: read the words in the pictures that the index holds of the files of this run."""
        wanted = sorted(path for path in self.pictured & self.present if self._root(path).ocr)
        todo = unread(self.store.files() if self.wrote else self.known, wanted)
        if not todo:
            return
        if not can_read_words():
            self.report.words_unread = len(todo)
            return
        with (
            self._timed("words"),
            WordReader() as reader,
            self._counting("reading words", "pictures", len(todo), progress) as done,
        ):
            read = add_words(self.store, self.model, todo, reader, done)
            for path in todo:
                if self._root(path).multi_vector:
                    self._store_tokens(self.store.file(path)[0])
        self.report.words_read, self.report.words_found = read.files, read.with_words
        self.report.chunks += read.chunks
        for one in read.skipped:
            self._skip(one)
        if read.fault is not None:
            self.report.words_fault, self.report.words_unread = read.fault, len(todo)

    def _groups(self, files: Sequence[File], stop: threading.Event) -> Iterator[tuple[list[Row], int]]:
        """The chunks of `files`, some hundred at a time, each time with the number of files that end in them.

        No more once `stop` is set.
        """
        group: list[Row] = []
        pages = ended = 0
        size = min(FIRST_GROUP, GROUP)
        for file in files:
            if stop.is_set():
                return
            rows = deque(self._read(file))
            ended += not rows
            while rows:  # taken out, since a page of a PDF is large once it is decoded
                group.append(rows.popleft())
                pages += isinstance(group[-1][0], Image.Image)
                ended += not rows
                if len(group) == size or pages == PAGES:
                    yield group, ended
                    group, pages, ended, size = [], 0, 0, GROUP
            if ended >= GROUP:
                yield group, ended
                group, pages, ended = [], 0, 0
        if ended or group:
            yield group, ended

    def _store(self, entries: list[Entry], vectors: Vectors, done: Callable[[], None]) -> None:
        """Store one group, then delete the older content of each file that ends in it, and call `done`."""
        with self._timed("write"):
            self.store.upsert(entries, vectors)
            self.wrote = True
            ended = [entry for entry in entries if entry.chunk == entry.chunks - 1]
            self.store.delete_older(entry for entry in ended if entry.path in self.known)
        self.report.chunks += len(entries)
        for entry in ended:
            self.present.add(entry.path)
            if entry.path in self.known:
                self.report.changed += 1
            else:
                self.report.added += 1
        done()

    def _encode(self, rows: list[Row]) -> tuple[list[Entry], Vectors]:
        """The entries of those rows that can be encoded, and their vectors; a broken picture is left out."""
        try:
            return encode_rows(self.model, rows)
        except (ImageError, OSError):
            pass  # at least one picture: encode the pictures one by one
        parts = [encode_rows(self.model, [row for row in rows if row[1].modality != "image"])]
        for row in rows:
            if row[1].modality == "image":
                try:
                    parts.append(encode_rows(self.model, [row]))
                except (ImageError, OSError) as error:
                    self._skip(Skipped(Path(row[1].path), _reason(error, row[1].path)))
        return [entry for some, _ in parts for entry in some], np.concatenate([rows for _, rows in parts])

    def _store_tokens(self, entries: Sequence[Entry]) -> None:
        """Store token vectors of the chunks whose root wants it; on a server there is no place for them."""
        if self.tokens.path is not None:
            store_tokens(
                self.model, (one for one in entries if self._root(one.path).multi_vector), self.tokens
            )

    def _giving_way(self, count: Count) -> Count:
        """The count of tokens, before which a search has its turn: a large file is counted in many parts."""

        def counted(texts: Sequence[str]) -> Sequence[int]:
            self.store.give_way()
            return count(texts)

        return counted

    @contextmanager
    def _counting(
        self, what: str, unit: str, total: int, progress: bool | None
    ) -> Iterator[Callable[[int], None]]:
        """A function that takes how many more units are done, and tells whoever watches or asks; for several threads."""
        folder = folder_of(self.store)
        silent = nullcontext(lambda count: None)
        shown = (
            silent if progress is False or not total else counting(what, unit=unit, total=total, bar=progress)
        )
        turn = threading.Lock()  # the thread that encodes and the one that writes both call `done`
        with shown as draw, telling(folder, what, unit, total) as tell:

            def done(count: int) -> None:
                with turn:
                    draw(count)
                    tell(count)

            yield done

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            before = self.report.seconds.get(phase, 0.0)
            self.report.seconds[phase] = before + time.perf_counter() - start


_NO_ROOT = Root("")


def _is_gone(path: str) -> bool:
    """Whether a file is gone from the disk, or has nothing in it, as where only its name was brought back."""
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return True


def _reason(error: Exception, path: str) -> str:
    """Why a picture cannot be encoded, without its path."""
    reason = str(error)
    return reason.removeprefix(f"{path}: ") if reason.startswith(f"{path}: ") else "broken picture"
