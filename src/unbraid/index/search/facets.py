"""Folders and languages that a search can be narrowed to, with the number of chunks in each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from unbraid.index.files.language import PICTURE
from unbraid.index.store.filter import Filter
from unbraid.index.store.store import Store


@dataclass(frozen=True)
class Facets:
    """Chunks by folder and by language, the most frequent first; `top` is the folder in which all files lie."""

    top: str
    folders: dict[str, int]  # by absolute path
    languages: dict[str, int]


def facets(store: Store, filter: Filter, folder: str | None = None) -> Facets:
    """Subfolders of `folder`, or of the top one, and the languages in it, of chunks that pass `filter`.

    A folder is counted whatever its languages, and a language wherever it is, but for `folder`: each list leaves its own
    filter out.
    """
    top = common_folder(store.facet("path"))
    inside = None if folder is None else (folder,)
    folders = subfolders(store.facet("path", filter), top if folder is None else folder)
    languages = store.facet("language", replace(filter, languages=None, paths=inside))
    named = Counter({name: count for name, count in languages.items() if name not in ("", PICTURE)})
    return Facets(top, dict(folders.most_common()), dict(named.most_common()))


def subfolders(files: Mapping[str, int], folder: str) -> Counter[str]:
    """The sum of the counts of `files`, by path, in each folder that lies directly in `folder`."""
    start = folder.rstrip("/") + "/"
    found: Counter[str] = Counter()
    for path, count in files.items():
        if path.startswith(start):
            name, slash, _ = path[len(start) :].partition("/")
            if slash:
                found[start + name] += count
    return found


def common_folder(files: Iterable[str]) -> str:
    """The deepest folder in which all absolute paths of files lie; empty without files, "/" where they share none."""
    shared: list[str] | None = None
    for path in files:
        parts = path.split("/")[:-1]
        if shared is None:
            shared = parts
        elif parts[: len(shared)] != shared:
            same = [one == other for one, other in zip(shared, parts, strict=False)]
            shared = shared[: same.index(False) if False in same else len(same)]
    return "" if shared is None else "/".join(shared) or "/"
