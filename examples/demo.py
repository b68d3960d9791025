"""Index this repository and a few pictures, then search them by words, code and pictures. Run it with `make demo`.

Everything is encoded once; every search after that takes some milliseconds.
"""

import shutil
import time
from pathlib import Path

import unbraid

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / ".demo-index"
shutil.rmtree(INDEX, ignore_errors=True)

with unbraid.open_index(INDEX) as index:
    report = index.add([ROOT / "README.md", ROOT / "docs", ROOT / "src", ROOT / "examples"])
    print(f"{report.added} files in {report.chunks} chunks, {len(report.skipped)} files skipped")
    report = index.add([ROOT / "README.md", ROOT / "docs", ROOT / "src", ROOT / "examples"])
    print(f"again: {report.unchanged} files unchanged, {report.chunks} chunks encoded\n")

    queries = [
        ("which process has the index open?", {"modality": "code", "mode": "code"}),
        ("what happens to an index when the process is killed?", {"modality": "text", "path": "*.md"}),
        ("sync_folder", {"language": "python"}),
        ("a bar chart", {"modality": "image"}),
        (ROOT / "examples" / "pictures" / "rainfall-bars.png", {"modality": "image", "mode": "symmetric"}),
    ]
    for query, options in queries:
        moment = time.perf_counter()
        hits = index.search(query, k=3, **options)
        name = query.name if isinstance(query, Path) else query
        print(f"{name!r} {options}: {(time.perf_counter() - moment) * 1000:.0f} ms")
        print("\n".join(map(str, hits)), end="\n\n")

print(f"The index stays in {INDEX.name}: unbraid search 'your words' --in {INDEX.name}")
