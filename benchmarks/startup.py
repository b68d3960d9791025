"""Time and memory of a fresh process until its first query vector.

    python benchmarks/startup.py [--rounds 7]

Prints the median and the worst of wall-clock seconds for import, load (which checks every file's hash) and first query,
and the peak of resident memory. Linux and macOS.
"""

import argparse
import json
import statistics
import subprocess
import sys

PROBE = """
import json, resource, sys, time
start = time.perf_counter()
import unbraid
imported = time.perf_counter()
model = unbraid.load()
loaded = time.perf_counter()
model.encode(["where is the date parsed?"], task="query")
first = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
print(json.dumps({"import s": imported - start, "load s": loaded - imported, "first query s": first - loaded,
                  "total s": first - start, "resident MB": peak}))
"""


def main() -> None:
    """Run the probe in fresh interpreters and print one row for each quantity."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    command = [sys.executable, "-c", PROBE]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(rounds)
    ]
    print("| from nothing to the first query | median | worst |\n| --- | --- | --- |")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"| {name} | {statistics.median(values):.2f} | {max(values):.2f} |")


main()
