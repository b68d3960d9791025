"""The main job on real input: index this repository, a package of Python's library and pictures; search them.

Run it with `make demo`. Everything is encoded once; every search after that is a few milliseconds.
"""

import email
import shutil
import time
from pathlib import Path

start = time.perf_counter()
import unbraid
from unbraid.cli.search import readable
from unbraid.index import Only, Store, search_vectors, update

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / ".demo-index"
SOURCES = ("README.md", "docs", "src", "base_encoders", "mappers", "teacher", "distill", "export")
PICTURES = ROOT / "examples" / "pictures"


def since(moment: float) -> str:
    """Time gone since `moment`, for people."""
    seconds = time.perf_counter() - moment
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def heading(text: str) -> None:
    """Print a line that stands out."""
    print(f"\n\033[1m{text}\033[0m")


model = unbraid.load()
print(f"{model.name} loaded and verified in {since(start)}, import included")

heading("1. Index: this repository, Python's `email` package, the pictures in examples/")
shutil.rmtree(INDEX, ignore_errors=True)
moment = time.perf_counter()
with Store.open(INDEX, base_id=model.base_id, dim=model.dim, create=True) as store:
    paths = [ROOT / name for name in SOURCES] + [Path(email.__file__).parent, PICTURES]
    report = update(store, model, paths, progress=True)
    skipped = sum(reason.count for reason in report.skipped.values())
    print(f"{report.added} files, {report.chunks} chunks, {skipped} files skipped, in {since(moment)}")
    moment = time.perf_counter()
    report = update(store, model, paths)
    print(f"again: {report.unchanged} files unchanged, {report.chunks} chunks encoded, in {since(moment)}")

    def show(
        title: str, item: unbraid.items.Item, mode: str, modality: unbraid.items.Modality | None, k: int = 3
    ) -> None:
        """Search and print, with the time that encoding and searching took."""
        heading(f"{title}\n   {item if isinstance(item, str) else item.name!r}, mode {mode}")
        moment = time.perf_counter()
        base = model.encode([item])
        encoded, moment = since(moment), time.perf_counter()
        (hits,) = search_vectors(store, model, base, mode=mode, k=k, only=Only(modality))
        print(f"   encoded in {encoded}, searched in {since(moment)}")
        for hit in hits:
            print(readable(hit))

    show("2. Words to text", "why are int8 vectors of one text not always the same?", "retrieval", "text")
    show("3. Words to code", "convert a date string to a time tuple", "code", "code")
    show("4. Words to picture", "a boat on the water", "retrieval", "image")
    show("   Words to picture", "bar chart", "retrieval", "image")
    show("5. Picture to picture", PICTURES / "rainfall-bars.png", "symmetric", "image")

    question = "split a long header over several lines"
    heading(f"6. One query, two search modes, encoded once\n   {question!r}")
    base = model.encode([question])
    for mode in ("code", "retrieval"):
        moment = time.perf_counter()
        (hits,) = search_vectors(store, model, base, mode=mode, k=3)
        print(f"   mode {mode}: {since(moment)}, nothing encoded")
        for hit in hits:
            print(readable(hit, lines=1))

print(
    f"\nAll of it took {since(start)}. The index stays in {INDEX.name}/: try\n"
    f"  .venv/bin/unbraid search 'your words' --in {INDEX.name}"
)
