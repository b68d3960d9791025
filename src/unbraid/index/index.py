"""`Index`: files in, hits out. `unbraid.open_index` makes one, for a folder or for a collection of a Qdrant server."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, overload

from PIL import Image

from unbraid.errors import DataError, ItemError, StoreError
from unbraid.index.add import Report, add_files
from unbraid.index.add_tokens import delete_files, folder_of, mark_of, store_all_tokens, wanted_keys
from unbraid.index.files.walk import Skip, check_exists, resolve_roots
from unbraid.index.protocol import Vectors
from unbraid.index.refresh_places import changed_places, refresh_places
from unbraid.index.roots import Root, copy_roots, owners, plan, read_left, read_roots, refreshed, write_roots
from unbraid.index.search.by_tier import search_by_tier
from unbraid.index.search.document_tokens import stored_by
from unbraid.index.search.explain import explained
from unbraid.index.search.hit import Hit
from unbraid.index.search.kept import Kept
from unbraid.index.search.relevance import relevance_of
from unbraid.index.search.search import check_search, search_vectors
from unbraid.index.search.second_look import STORED, SecondLook, can_look, read_rerank, second_looks
from unbraid.index.search.token_cache import TokenCache
from unbraid.index.skipped import LeftOut, read_skipped, write_skipped
from unbraid.index.store.bm25 import VERSION
from unbraid.index.store.entry import Entry, Fields
from unbraid.index.store.filter import Filter, Names, read_filter
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import Meta, match, meta_of_model
from unbraid.index.store.shared_store import SharedStore
from unbraid.index.store.storage import Storage
from unbraid.index.store.store import Store, Version, copy_items
from unbraid.index.under_way import UnderWay, under_way
from unbraid.mix import Mix, Query, words_of
from unbraid.progress import counting
from unbraid.runtime.routing import query_side
from unbraid.vectors import Numbers

if TYPE_CHECKING:  # what these need is loaded when it is used
    from unbraid.index.store.verify import Repair, Tell, Verification
    from unbraid.index.transfer.task_vectors import Estimate, Written

GROUP = 200  # files deleted at a time: each group ends on the disk, so Ctrl-C loses little
OnProgress = Callable[[int], None]  # called with the number of further items that are done


def _ignore(count: int) -> None:
    pass


class SearchOptions(TypedDict, total=False):
    """What `Index.search` takes beside the query, for type checkers."""

    mode: str
    k: int
    vectors_only: bool
    min_score: float
    modality: str | None
    path: Names | None
    language: str | Sequence[str] | None
    where: str | Sequence[str]
    rerank: str | int | None
    explain: bool


@dataclass(frozen=True)
class Stats:
    """Size of an index: files, chunks by modality, language and tier, and bytes on disk (None on a server).

    `copied` chunks are in the smaller copy that candidates come from (`Storage`); None on a server.
    """

    files: int
    incomplete: int  # of the files: a run was cut off in them, the next one reads them again
    chunks: dict[str, int]
    languages: dict[str, int]  # chunks by the language of their file, pictures left out
    tiers: dict[str, int]  # chunks by the tier that encoded them, where that is known
    text_languages: dict[str, int]  # chunks by the language that was found in them, English left out
    bytes: int | None
    copied: int | None
    token_vectors: int = 0  # bytes of it that hold token vectors, for second looks


class Index:
    """An open index. Close it, or use it in a `with` block.

    The model is loaded when it is first needed: stats, verify, delete and export need none,
    and compact only where token vectors are stored. An index that does
    not exist yet is made by the first call that writes to it.
    """

    def __init__(
        self,
        store: Store | None,
        *,
        place: str,
        create: Callable[[Meta], Store],
        load_model: Callable[[], Any],
        options: Mapping[str, Any],
        read_only: bool,
    ) -> None:
        """Use `unbraid.open_index`. `store` is None where there is no index yet; `create` makes it.

        `options` are those arguments of `Storage` that were given.
        """
        self.place = place
        self.read_only = read_only
        self._store = store
        self._create = create
        self._load_model = load_model
        self._options = options
        self._model: Any = None
        self._kept = Kept()
        self._cache: TokenCache | None = None
        self._has_multi_vectors: bool | None = None  # whether a root has them stored, once that was looked up
        self._tiers: tuple[Version, dict[str, int]] | None = None  # chunks of each tier, as last counted
        self._closed = False
        Storage(**{"dim": 1, **options})  # refuses unknown values, also where there is no index yet
        if store is not None and options:
            self._check_storage(store.meta)

    def __enter__(self) -> Self:
        """The index itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Where it is."""
        return f"<Index {self.place}{' (closed)' if self._closed else ''}>"

    def close(self) -> None:
        """Let other processes open the index; a second call does nothing."""
        self._closed = True
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> Store:
        """The store below. Raises StoreError after `close`, and where there is no index yet."""
        if self._closed:
            raise StoreError(f"the index {self.place} has been closed: open it again")
        if self._store is None:
            raise StoreError(
                f"no index at {self.place}; make one with: unbraid index PATH --into {self.place}"
            )
        return self._store

    @property
    def model(self) -> Any:
        """The embedder, loaded when it is first needed. Raises StoreError when its base is not that of the index."""
        if self._model is None:
            model = self._load_model()
            if self._store is not None:
                match(self.place, self._store.meta, meta_of_model(model), self._count_pictures)
            self._model = model
        return self._model

    @property
    def meta(self) -> Meta:
        """What the index was made with: base, storage, provenance."""
        return self.store.meta

    # -- write ---------------------------------------------------------------------------------------------

    def add(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        fields: Fields | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        hidden: bool | None = None,
        max_size: int | None = None,
        ocr: bool | None = None,
        page_images: bool | None = None,
        archives: bool | None = None,
        multi_vector: bool | None = None,
        defaults: Mapping[str, Any] = MappingProxyType({}),
        prune: bool = False,
        on_skip: Skip | None = None,
        progress: bool | None = None,
    ) -> Report:
        """Index the files under `paths`, skip those that have not changed, and delete those that are gone.

        Each of `paths` becomes a root of the index, kept with its settings for `refresh`, unless it lies in a root that takes
        it in and no setting is given. A setting that is not given stays as it was; that of a new root is one of `defaults`,
        by name, if it is there. `fields` are added to those of every
        file; an empty value removes one. `include` and `exclude` are patterns as lines of a .gitignore in the root: with
        `include` only files that match one of them, or lie in a folder that does, are indexed. `hidden` takes hidden files
        too, `max_size` is a limit in bytes in place of the usual ones. The words in pictures and in PDF pages without text
        are read at the end, with `unbraid[ocr]` and unless `ocr` is False; `page_images` makes a picture of every PDF page.

        A file is unchanged when its size and modification time are, or else its sha256. Deleted is what the walk no longer
        finds: deleted, ignored, no longer readable as text or picture. What lies in a folder or file that cannot be read now
        stays. Below a root that is missing, empty, or has lost most of its files, which may be a disk that is not mounted,
        nothing is deleted: it is one of `report.doubts`. With `prune` it is, and a root that is missing is taken out.
        A root that was renamed is recognised by its files when its new path is added; nothing is encoded again.

        `multi_vector` stores the vectors of every chunk's tokens too, in a folder: a search then takes a second look, which
        has nothing left to encode. `archives` reads the files in zip and tar archives. `on_skip` is told each file that is
        left out, maybe from another thread. Ctrl-C ends the run and sets `interrupted`; what was written stays. `progress`
        None draws a bar where a person watches standard error. Raises DataError for a path that does not exist, ItemError for `multi_vector`
        with a model that has none.
        """
        self._check_writable("add")
        settings = {
            "fields": fields,
            "include": include,
            "exclude": exclude,
            "hidden": hidden,
            "max_size": max_size,
            "ocr": ocr,
            "page_images": page_images,
            "archives": archives,
            "multi_vector": multi_vector,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        resolved = resolve_roots([paths] if isinstance(paths, str | Path) else paths)
        if self._store is None:
            for path in resolved:
                check_exists(path)
        model = self.model
        if multi_vector and not can_look(model):
            raise ItemError(
                f"{getattr(model, 'name', 'the model')} has no multi-vectors: leave multi_vector out"
            )
        dim = self._options.get("dim")
        if dim is not None and dim not in model.bundle.dims:
            raise DataError(f"dim {dim}: expected one of {', '.join(map(str, model.bundle.dims))}")
        self._make(meta_of_model(model, Storage(**{"dim": model.dim, **self._options})))
        return self._run(resolved, given, defaults, prune=prune, on_skip=on_skip, progress=progress)

    def refresh(
        self,
        paths: str | Path | Sequence[str | Path] | None = None,
        *,
        prune: bool = False,
        on_skip: Skip | None = None,
        progress: bool | None = None,
    ) -> Report:
        """Bring the roots of the index in line with the disk, or only `paths` that lie in them.

        As `add` of the same roots with the settings that they have. A path that is gone leaves the index. Raises StoreError
        where the index has no roots, DataError for a path outside all of them.
        """
        self._check_writable("refresh")
        roots = self.roots()
        if not roots:
            raise StoreError(f"{self.place} has no roots to refresh yet: give it some: unbraid index PATH...")
        chosen = None
        if paths is not None:
            chosen = resolve_roots([paths] if isinstance(paths, str | Path) else paths)
            owner = owners(roots)
            for path in chosen:
                if owner.of(path.as_posix()) is None:
                    raise DataError(f"{path} lies in no root of {self.place}: see unbraid index roots")
        self._make(meta_of_model(self.model, self.meta.storage))
        return self._run(chosen, {}, {}, prune=prune, on_skip=on_skip, progress=progress)

    def refresh_places(self, places: Sequence[Path], *, on_skip: Skip | None = None) -> Report:
        """Bring some files and folders in the roots in line with the disk, as one that watches them is told of them.

        `places` are absolute, in a root whose own path has no links. What is gone there leaves the index, without asking.
        """
        self._check_writable("refresh")
        self._make(meta_of_model(self.model, self.meta.storage))
        return refresh_places(self.store, self.model, places, on_skip)

    def changed_places(self) -> list[Path]:
        """Files in the roots that the disk has now and the index has not, has otherwise, or has no more; nothing is read."""
        return changed_places(self.store)

    def roots(self) -> list[Root]:
        """The files and folders that the index was given, each with its settings; none in one of an earlier version."""
        return read_roots(self.store)

    def under_way(self) -> UnderWay | None:
        """What a run of `add` or `refresh` does now, in whichever process; None where none takes long. For folders only."""
        return under_way(self.store.folder) if isinstance(self.store, SharedStore) else None

    def skipped(self) -> list[LeftOut]:
        """What the last `add` or `refresh` of each root left out, with the reasons. Kept in a folder only."""
        return read_skipped(self.store, self.roots())

    def remove_root(self, root: str | Path, *, on_progress: OnProgress = _ignore) -> int:
        """Take a root out of the index with all that belongs to it; returns the number of files. The disk is not touched.

        What lies in another root that lies in it stays. Raises DataError for a path that is no root.
        """
        self._check_writable("remove")
        tops = {
            Path(one).as_posix()
            for one in (os.path.realpath(root), os.path.abspath(os.path.expanduser(root)))
        }
        with self.store.writing():
            roots = self.roots()
            found = next((one for one in roots if one.path in tops), None)
            if found is None:
                known = ", ".join(one.path for one in roots) or "none"
                raise DataError(f"{root} is no root of {self.place}: its roots are {known}")
            owner = owners(roots)
            chosen = [path for path in self.store.files() if owner.of(path) is found]
            self._delete(chosen, on_progress)
            write_roots(self.store, [one for one in roots if one is not found])
            self._has_multi_vectors = None
        return len(chosen)

    def delete(self, paths: str | Path | Sequence[str | Path], *, on_progress: OnProgress = _ignore) -> int:
        """Remove files and folders, which need not exist any more, from the index; returns the number of files.

        They are gone from the index's disk when this returns. Raises DataError where it holds nothing at a path.
        """
        self._check_writable("delete")
        with self.store.writing():
            chosen = self.files_below(paths)
            self._delete(chosen, on_progress)
        return len(chosen)

    def files_below(self, paths: str | Path | Sequence[str | Path]) -> list[str]:
        """The files of the index that are one of `paths` or lie in it. Raises DataError for a path with none."""
        known, chosen = list(self.store.files()), set()
        for given in [paths] if isinstance(paths, str | Path) else paths:
            given = os.path.expanduser(given)
            tops = {Path(os.path.realpath(given)).as_posix(), Path(os.path.abspath(given)).as_posix()}
            found = [
                path
                for path in known
                if any(path == top or path.startswith(f"{top.rstrip('/')}/") for top in tops)
            ]
            if not found:
                raise DataError(f"nothing in the index lies at {given}; nothing was deleted")
            chosen.update(found)
        return sorted(chosen)

    # -- search --------------------------------------------------------------------------------------------

    @overload
    def search(  # type: ignore[overload-overlap]  # a str is a sequence too, and the first that fits counts
        self, query: Query, **options: Unpack[SearchOptions]
    ) -> list[Hit]: ...

    @overload
    def search(self, query: Sequence[Query], **options: Unpack[SearchOptions]) -> list[list[Hit]]: ...

    def search(
        self,
        query: Query | Sequence[Query],
        *,
        mode: str = "retrieval",
        k: int = 10,
        vectors_only: bool = False,
        min_score: float = 0.0,
        modality: str | None = None,
        path: Names | None = None,
        language: str | Sequence[str] | None = None,
        where: str | Sequence[str] = (),
        rerank: str | int | None = None,
        explain: bool = False,
    ) -> list[Hit] | list[list[Hit]]:
        """The `k` best hits for a text, an unbraid.Code, a picture (a path or PIL image) or an unbraid.Mix of these.

        The best hit is first. A list of queries gives a list of lists. `mode` says what counts as near. The words of a
        query count beside its vector, and "a phrase in quotes" holds in every hit; not so with `vectors_only`. Hits below
        `min_score`, the probability of being relevant, are left out. The other arguments filter, and all of them must
        hold: `path` is a file, folder or pattern ("docs", "*.md"), `where` a condition on a field ("year>=2025",
        "team=search"); of several paths or languages one is enough.

        `rerank` takes a second look at the first candidates of a text or code, by the vectors of its tokens: "on" (50 of
        them), a number of candidates, or a time to encode them in, such as "30ms"; "off" by default, but "20ms" for an
        index in a folder that was made with `multi_vector`. `explain` fills `Hit.why`. Raises ItemError for a mode that the
        model does not have, a filter or `rerank` that means nothing and a query that cannot be encoded.
        """
        filter = read_filter(modality=modality, path=path, language=language, where=where)
        one = isinstance(query, str | Path | Image.Image | Mix)
        queries: Sequence[Any] = [query] if one else query  # type: ignore[assignment,list-item]
        words = [None if vectors_only else words_of(each) for each in queries]
        check_search(self.model, mode, k)
        side = query_side(self.model.search_modes[mode])
        base = self.model.encode(queries, side=side, progress=False)
        tier = self.own_tier
        own = self.model.encode(queries, side=side, tier=tier, progress=False) if tier else None
        texts = [each if isinstance(each, str) else None for each in queries]
        looks = self._looks(texts, mode, rerank)
        results = self._search(base, own, words, mode, k, filter, min_score, looks)
        if explain:
            results = self._explained(texts, results)
        return results[0] if one else results

    @property
    def own_tier(self) -> str | None:
        """The tier of many languages, whose texts are asked by queries of its own; None where it has encoded none here."""
        tier = self.model.multilingual_tier
        return tier if tier and self._encoded_by(tier) else None

    def search_vectors(
        self,
        base: Vectors,
        words: Sequence[str | None] | None = None,
        *,
        own: Vectors | None = None,
        mode: str = "retrieval",
        k: int = 10,
        min_score: float = 0.0,
        modality: str | None = None,
        path: Names | None = None,
        language: str | Sequence[str] | None = None,
        where: str | Sequence[str] = (),
        texts: Sequence[str | None] | None = None,
        rerank: str | int | None = None,
        explain: bool = False,
        look_seconds: float | None = None,
    ) -> list[list[Hit]]:
        """`search` for queries that are base vectors [n, dim] already: another mode costs no encoding.

        Where the bundle has a tier for queries, they are to be encoded as `query_side` says of `mode` (runtime/routing.py).
        `words` are the texts of the queries; without them, and where one is None, the vector alone counts. `own` are the
        queries as `own_tier` encodes them, which then find its texts. `texts` are those queries that are one text or code,
        None for others; they are needed for a second look (`rerank`) and for `explain`. A second look encodes for at most about
        `look_seconds`, whatever `rerank` says; None is as long as it says.
        """
        filter = read_filter(modality=modality, path=path, language=language, where=where)
        given = [None] * len(base) if texts is None else texts
        looks = self._looks(given, mode, rerank, look_seconds)
        results = self._search(base, own, words, mode, k, filter, min_score, looks)
        return self._explained(given, results) if explain else results

    def entries(self, path: str | Path) -> list[Entry]:
        """The undamaged chunks of the file at an absolute `path`; none for a file that the index does not hold."""
        return self.store.file(Path(path).as_posix())[0]

    def count(self) -> int:
        """Number of chunks."""
        return self.store.count()

    # -- look after it -------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Files, chunks by modality, language and tier, bytes on disk."""
        store = self.store
        states = store.files().values()
        languages = store.facet("language")
        languages.pop("", None)
        return Stats(
            len(states),
            sum(not state.complete for state in states),
            store.facet("modality"),
            languages,
            store.facet("tier"),
            store.facet("text_language"),
            store.disk_bytes(),
            store.copied(),
            self._token_cache.bytes(),
        )

    def verify(self, *, repair: bool = False, on_progress: "Tell | None" = None) -> "Verification":
        """Check every stored vector and payload against its checksum, and the files that hold them. Folders only.

        With `repair`, a damaged index is repaired, and `Verification.repair` says how that went.
        """
        from unbraid.index.store.verify import verify

        if repair:
            self._check_writable("repair")
        found = verify(self._folder("verify"), on_progress)
        if repair and not found.intact:
            found.repair = self.repair(on_progress=on_progress)
        return found

    def repair(self, *, on_progress: "Tell | None" = None) -> "Repair":
        """Encode damaged items again where their file still has the content; the rest is reported as lost."""
        from unbraid.index.repair import repair

        self._check_writable("repair")
        folder = self._folder("repair")
        with self.store.writing():
            return repair(folder, self.model, on_progress)

    def compact(self) -> None:
        """Give back the room of deleted and replaced chunks. Blocks, even for Ctrl-C; a server does it by itself.

        Of token vectors, those stay that the model's heads have made of roots with `multi_vector`, for which it is loaded.
        """
        self._check_writable("compact")
        folder = self._folder("compact")
        with self.store.writing():
            folder.renew_words()
            folder.compact()
            roots = self.roots()
            if not any(root.multi_vector for root in roots):
                self._token_cache.remove()
            elif self._token_cache.bytes():
                self._token_cache.keep(wanted_keys(folder, self.model, roots))

    # -- to and from other places --------------------------------------------------------------------------

    def export(self, out: str | Path, *, on_progress: OnProgress = _ignore) -> int:
        """Write base vectors, what they came from and provenance to a Parquet file; returns the number of items.

        Raises StoreError when an item is damaged, DataError when `out` cannot be written.
        """
        from unbraid.index.transfer.index_file import write_index

        out = Path(out)
        if out.suffix != ".parquet" or not out.absolute().parent.is_dir():
            raise DataError(f"{out}: expected a file that ends in .parquet, in a folder that exists")
        return write_index(self.store, out, on_progress)

    def import_file(self, file: str | Path, *, on_progress: OnProgress = _ignore) -> int:
        """Put what `export` wrote into this index, a new one or one of the same base; nothing is encoded.

        Returns the number of items. An import that was interrupted may be repeated.
        """
        from unbraid.index.transfer.index_file import IndexFile

        self._check_writable("import")
        given = IndexFile(Path(file))
        store = self._make(given.meta)
        with store.writing():
            store.renew_words()
            return given.load(store, on_progress)

    def copy_to(self, other: "Index", *, on_progress: OnProgress = _ignore) -> int:
        """Put every item into `other`, a new index or one of the same base, such as on a Qdrant server.

        Its roots come along. Nothing is encoded. Returns how many items were damaged and left out.
        """
        other._check_writable("copy into")
        target = other._make(self.meta)
        with target.writing():
            target.renew_words()
            damaged = copy_items(self.store, target, on_progress)
            copy_roots(self.store, target)
            return damaged

    def export_task_vectors(
        self,
        out: str | Path,
        task: str,
        *,
        dim: int | None = None,
        numbers: Numbers = "float32",
        on_progress: OnProgress = _ignore,
    ) -> "Written":
        """Write the task vector of every item to a .parquet, .npy or .jsonl file, streaming.

        A search needs no such file. Raises DataError when it cannot be written, ItemError for a task, dim or numbers
        that the model does not have.
        """
        from unbraid.index.transfer.task_vectors import Form, write_task_vectors
        from unbraid.io.vector_file import check_suffix

        check_suffix(Path(out))
        form = Form(task, dim or self.model.dim, numbers)
        return write_task_vectors(self.store, self.model, form, Path(out), on_progress)

    def estimate_task_vectors(
        self, out: str | Path, task: str, *, dim: int | None = None, numbers: Numbers = "float32"
    ) -> "Estimate":
        """What `export_task_vectors` will take. Raises DataError when the file may not fit on its disk."""
        from unbraid.index.transfer.task_vectors import Form, check_room, estimate_task_vectors

        form = Form(task, dim or self.model.dim, numbers)
        about = estimate_task_vectors(self.store, self.model, form, Path(out))
        check_room(about, Path(out))
        return about

    # -- what the methods share ----------------------------------------------------------------------------

    def _run(
        self,
        paths: Sequence[Path] | None,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
        *,
        prune: bool,
        on_skip: Skip | None,
        progress: bool | None,
    ) -> Report:
        """Bring `paths` in line with the disk, and note what the roots are then."""
        store = self.store
        folder = store.folder if isinstance(store, SharedStore) else None
        self._has_multi_vectors = None
        with store.writing():
            store.renew_words()
            known = store.files()
            planned = plan(paths, read_roots(store), given, known, folder, defaults, read_left(store))
            write_roots(store, planned.roots, planned.left)
            cache, mark = self._token_cache, 0
            if any(root.multi_vector for root in planned.roots) and can_look(self.model):
                mark = mark_of(self.model, planned.roots)
            whole = not known or (mark != 0 and cache.mark() == mark)
            # A run that is cut off leaves the file unmarked, and the next one looks what is missing.
            marking = mark != 0 and cache.set_mark(0)
            report = add_files(
                store, self.model, planned, known, prune=prune, on_skip=on_skip, progress=progress
            )
            if marking and not whole and not report.interrupted:
                report.interrupted = self._store_tokens(planned.roots, progress)
            if marking and not report.interrupted:
                cache.set_mark(mark)
            if not report.interrupted:
                if folder is not None:
                    write_skipped(store, planned, report.skipped)
                done = {path.as_posix() for path in planned.scopes} - {doubt.root for doubt in report.doubts}
                same_files = not (report.added or report.moved or report.deleted)
                files = known if same_files else store.files()
                write_roots(store, refreshed(planned.roots, done, files, folder, prune=prune), [])
        return report

    def _delete(self, chosen: Sequence[str], on_progress: OnProgress) -> None:
        for start in range(0, len(chosen), GROUP):
            group = chosen[start : start + GROUP]
            delete_files(self.store, group, self._token_cache)
            on_progress(len(group))

    def _search(
        self,
        base: Vectors,
        own: Vectors | None,
        words: Sequence[str | None] | None,
        mode: str,
        k: int,
        filter: Filter,
        min_score: float,
        looks: Sequence[SecondLook | None] | None,
    ) -> list[list[Hit]]:
        if not 0 <= min_score <= 1:
            raise ItemError(f"min_score is {min_score}: expected a probability from 0 to 1")
        if words is not None and self.store.meta.words != VERSION:
            warnings.warn(
                f"the words of {self.place} are those of an earlier version, so vectors alone count; renew them, without "
                "encoding: unbraid index PATH... --into it once more, or unbraid index compact",
                stacklevel=3,
            )
            words = None
        search = partial(
            search_vectors, self.store, self.model, mode=mode, k=k, words=words, kept=self._kept, looks=looks
        )
        if own is None or (tier := self.own_tier) is None:
            results = search(base, filter=filter)
        else:
            alone = self._encoded_by(tier) == self.count()
            results = search_by_tier(search, base, own, tier, filter, k, alone=alone)
        return [[hit for hit in hits if hit.score >= min_score] for hits in results]

    def _looks(
        self,
        texts: Sequence[str | None],
        mode: str,
        rerank: str | int | None,
        most_seconds: float | None = None,
    ) -> list[SecondLook | None] | None:
        """The second look of each query; None where none is taken."""
        wanted = STORED if rerank is None else read_rerank(rerank)
        if wanted is None or not any(texts):
            return None
        if rerank is None and not (
            self._token_cache.path is not None and self._stores_multi_vectors() and can_look(self.model)
        ):
            return None
        if not can_look(self.model):
            name = getattr(self.model, "name", "the model")
            warnings.warn(f"{name} has no multi-vectors, so rerank changes nothing", stacklevel=3)
            return None
        if most_seconds is not None:
            wanted = wanted.within(most_seconds)
        share = relevance_of(self.model).look.get(mode, 1.0)
        return second_looks(self.model, texts, share, wanted, self._token_cache, self.reader)

    @property
    def reader(self) -> str | None:
        """The tier that a second look and its explanation read by; None is that of each passage.

        Where multi-vectors are stored, it is the one that the bundle names for them. What is encoded when it is needed is of the tier
        that made the base vectors, which is quicker.
        """
        stored = self._token_cache.path is not None and self._stores_multi_vectors()
        return stored_by(self.model) if stored else None

    @property
    def _token_cache(self) -> TokenCache:
        """Token vectors beside the index in its folder; in memory for one on a server."""
        if self._cache is None:
            self._cache = TokenCache(folder_of(self.store))
        return self._cache

    def _stores_multi_vectors(self) -> bool:
        """Whether a root of the index has token vectors stored, which on a server there is no place for. Asked once."""
        if self._has_multi_vectors is None:
            try:
                self._has_multi_vectors = any(root.multi_vector for root in self.roots())
            except StoreError:  # roots of a newer version, which a search does not need
                self._has_multi_vectors = False
        return self._has_multi_vectors

    def _store_tokens(self, roots: Sequence[Root], progress: bool | None) -> bool:
        """Store token vectors of what is in the index already; whether Ctrl-C cut that off."""
        try:
            total = self.store.count()
            silent = nullcontext(_ignore)
            with (
                silent
                if progress is False
                else counting("multi-vectors", unit="chunks", total=total, bar=progress)
            ) as done:
                store_all_tokens(self.store, self.model, roots, self._token_cache, done)
        except KeyboardInterrupt:
            return True
        return False

    def _explained(self, texts: Sequence[str | None], results: list[list[Hit]]) -> list[list[Hit]]:
        if any(texts) and not can_look(self.model):
            name = getattr(self.model, "name", "the model")
            warnings.warn(f"{name} has no multi-vectors, so explain says nothing", stacklevel=3)
            return results
        return [
            explained(self.model, text, hits, self.reader) for text, hits in zip(texts, results, strict=True)
        ]

    def _encoded_by(self, tier: str) -> int:
        """How many chunks `tier` has encoded."""
        version = self.store.version()
        if self._tiers is None or self._tiers[0] != version:
            self._tiers = version, self.store.facet("tier")
        return self._tiers[1].get(tier, 0)

    def _make(self, meta: Meta) -> Store:
        """The store to write vectors of `meta` to, made where there is none. Raises StoreError when they do not fit in."""
        if self._store is None and not self._closed:
            if self._options:
                self._check_storage(meta)
            self._store = self._create(meta)
        changed = match(self.place, self.store.meta, meta, self._count_pictures)
        if changed != self.store.meta:
            self.store.set_meta(changed)
        return self.store

    def _check_storage(self, meta: Meta) -> None:
        if (wanted := Storage(**{"dim": meta.dim, **self._options})) != meta.storage:
            raise StoreError(
                f"{self.place} keeps {meta.storage}, not {wanted}: leave these options out, or make another index"
            )

    def _count_pictures(self) -> int:
        return self.store.facet("modality").get("image", 0)

    def _check_writable(self, what: str) -> None:
        if self._closed:
            raise StoreError(f"the index {self.place} has been closed: open it again")
        if self.read_only:
            raise StoreError(f"cannot {what}: {self.place} was opened with read_only=True")

    def _folder(self, what: str) -> FolderStore:
        if not isinstance(self.store, SharedStore):
            raise StoreError(f"cannot {what} {self.place}: that works on folders only; pull the index first")
        return self.store.alone(what)
