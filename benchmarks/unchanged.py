"""What it costs to index files again that have not changed.

    python benchmarks/unchanged.py [--files 100000] [--folder DIR]

Makes that many small Markdown files in folders of a hundred, indexes them by the nano tier, and runs the command again in a
fresh process. Printed: seconds, seconds of the processor, memory of its own and all of it with mapped files, which the system
may take back. DIR keeps files and index for another run.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = (
    "moon river house green bright search vector model code index file words cat dog red the of and".split()
)
AGAIN = """
import json, resource, sys, time
import unbraid
begin = time.monotonic()
with unbraid.open_index(sys.argv[1], model=lambda: unbraid.load(tier="nano")) as index:
    report = index.refresh(progress=False)
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"unchanged": report.unchanged, "encoded": report.chunks, "s": time.monotonic() - begin,
    "cpu s": used.ru_utime + used.ru_stime, "own MB": own / 1e3, "peak MB": used.ru_maxrss / 1e3}))
"""


def main() -> None:
    """Make, index, index again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        top = options.folder or Path(scratch)
        files, index = top / "files", top / "index"
        if not index.exists():
            draw = random.Random(0)
            for number in range(options.files):
                file = files / f"{number // 10_000}/{number // 100:05}/{number:07}.md"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"# Note {number}\n\n{' '.join(draw.choices(WORDS, k=15))}\n")
            begin = time.monotonic()
            command = [
                sys.executable,
                "-m",
                "unbraid",
                "index",
                files,
                "--into",
                index,
                "--tier",
                "nano",
                "--json",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(f"first: {time.monotonic() - begin:.1f} s")
        for _ in range(3):
            answer = subprocess.run(
                [sys.executable, "-c", AGAIN, index], check=True, stdout=subprocess.PIPE, env=os.environ
            )
            print({name: round(value, 1) for name, value in json.loads(answer.stdout).items()})


if __name__ == "__main__":
    main()
