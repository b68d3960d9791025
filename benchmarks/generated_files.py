"""Which files below some folders are left out as generated or minified, with the words that say so.

python benchmarks/generated_files.py FOLDER...     # the standard library, site-packages
"""

import os
import sys
from collections import Counter
from pathlib import Path

from unbraid.index.files.generated import generated_by_rule, marked_generated
from unbraid.items import suffix_modality

HEAD = 8192  # bytes that the walk reads


def main() -> None:
    """Print one line for each file that is left out, and counts for each folder."""
    for root in sys.argv[1:]:
        found: Counter[str] = Counter()
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for path in (Path(folder, name) for name in sorted(names)):
                modality = suffix_modality(path)
                if modality == "image" or not path.is_file():
                    continue
                with path.open("rb") as file:
                    head = file.read(HEAD)
                reason = generated_by_rule(path, modality, head)
                if reason:
                    found[reason] += 1
                    said = marked_generated(head) if reason == "generated" else ""
                    print(f"{reason}\t{path.relative_to(root)}\t{said}")
        print(f"{root}: {dict(found)}")


if __name__ == "__main__":
    main()
