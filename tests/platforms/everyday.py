"""What a person does, run by other_platform.py: encode, index, search, refresh, look after it, the same by command, serve."""

import importlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

modules, bundle, place = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

for name in modules:
    importlib.import_module(name)

import httpx

import unbraid
from unbraid.cli.main import app
from unbraid.runtime.doctor import machine
from unbraid.serve import BundleEngine, Settings, create_app
from unbraid.serve.uvicorn_server import Server

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

at = ["--model", bundle]
for command in (
    ["index", str(files), "--into", str(place / "cli"), *at],
    ["search", "cat", "--in", str(place / "cli"), "--min-score", "0", *at],
    ["index", "roots", str(place / "cli")],
    ["index", "stats", str(place / "cli")],
    ["index", "verify", str(place / "cli")],
    ["info"],
):
    app([*command], standalone_mode=False)

server = Server(create_app(BundleEngine(model, workers=1), Settings(), None), host="127.0.0.1", port=0)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/ready"
said["served"] = httpx.get(url).status_code
server.should_exit = True
thread.join()
said["cores"] = int(machine()["cores"].split()[0]) > 0
sys.stdout.write(json.dumps(said) + "\n")
