"""Run a command and add what it prints, under the command, to the scores that `unbraid train export --scores` puts in a card.

python benchmarks/record.py scores.json -- python benchmarks/speed.py my-bundle
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run, show and record; nothing is recorded of a command that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    done = subprocess.run(arguments.command, check=False, stdout=subprocess.PIPE, text=True)
    sys.stdout.write(done.stdout)
    if done.returncode:
        sys.exit(done.returncode)
    scores = json.loads(arguments.file.read_text()) if arguments.file.exists() else {"tables": {}}
    shown = [Path(arguments.command[0]).name, *arguments.command[1:]]
    scores["tables"][shlex.join(shown)] = done.stdout.strip()
    arguments.file.write_text(json.dumps(scores, indent=1, ensure_ascii=False), encoding="utf-8")


main()
