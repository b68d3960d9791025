"""What a person does with the base install, run by other_platform.py: encode, index, search, refresh, look after it."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

modules, bundle, place = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

for name in modules:
    importlib.import_module(name)

import unbraid
from unbraid.runtime.doctor import machine

model = unbraid.load(bundle)
assert model.encode(["cat", unbraid.Code("def f(): pass")]).shape == (2, model.dim)

files = place / "files"
(files / "in").mkdir(parents=True)
(files / "a.md").write_text("# Cats\n\nA cat sleeps.\n", encoding="utf-8")
(files / "in" / "b.py").write_text("def dog():\n    return 1\n", encoding="utf-8")
said: dict[str, Any] = {}
with unbraid.open_index(place / "index", model=model) as index:
    said["added"] = index.add(files).added
    said["hit"] = index.search("cat", k=1, min_score=0, path="*.md")[0].place
    said["near"] = len(index.search("cat", min_score=0, path=str(files / "in")))
    (files / "a.md").write_text("# Cats\n\nTwo cats sleep now.\n", encoding="utf-8")
    said["changed"] = index.refresh().changed
    # A second store stands for another process: it asks the first over the loopback, and takes over from it.
    with unbraid.open_index(place / "index", model=model) as other:
        said["asked"] = len(other.search("cat", min_score=0))
        index.close()
        said["took over"] = len(other.search("cat", min_score=0))
        said["deleted"] = other.delete(files / "in")
        other.compact()
        said["intact"] = other.verify().intact
        said["bytes"] = bool(other.stats().bytes)
        said["roots"] = len(other.roots())
said["cores"] = int(machine()["cores"].split()[0]) > 0
sys.stdout.write(json.dumps(said))
