"""Random files for every reader: none may crash it, take long, or take much memory.

python benchmarks/fuzz_readers.py [COUNT] [--seed N]       # 20,000 by default; about 5 minutes on one core
"""

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from unbraid.errors import DataError
from unbraid.index.files.front_matter import front_matter_fields
from unbraid.index.files.read import read_file, starter_limit
from unbraid.items import CODE_SUFFIXES

SUFFIXES = (
    *sorted(CODE_SUFFIXES),
    ".md",
    ".mdx",
    ".html",
    ".xhtml",
    ".txt",
    ".xml",
    ".svg",
    ".csv",
    ".json",
    "",
)
MOST_SECONDS, MOST_MEGABYTES = 20.0, 1024
PIECES = [
    *"{}[]()<>\"'`#*_-=+/\\|&;:,.!?@$%^~ \t\n\r\f\v\0",
    *(
        "def f():\n",
        "class A {\n",
        "func (s *T) M() {\n",
        "import x\n",
        "/*",
        "*/",
        "//",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
    ),
    *(
        "<script>",
        "</script>",
        "<a href='",
        "<pre>",
        "# Title\n",
        "```\n",
        "~~~\n",
        "---\n",
        "+++\n",
        "- ",
        "> ",
        "| a |\n",
    ),
    *(
        "tags: [a, b]\n",
        "&a *a\n",
        '{"cells": [',
        '{"source": "x"}',
        "é",
        "数据库",
        "ไทย",
        "\u0301",
        "\u200b",
        "\u2028",
        "\ud7ff",
        "😀",
    ),
    *(
        "word ",
        "SGVsbG8gV29ybGQh",
        "M1.5-2L3,4z",
        "1234567890",
        "\\u00e9",
        "&amp;",
        "&#0;",
        "coding: latin-1\n",
        "<?xml encoding='x'?>",
    ),
]
ENCODINGS = (
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "cp1252",
    "koi8-r",
    "shift_jis",
    "gb18030",
    "cp1251",
)


def seeds() -> list[bytes]:
    """Real files to damage: this repository's own."""
    root = Path(__file__).parent.parent
    paths = [
        *root.glob("*.md"),
        *root.glob("docs/*.md"),
        *root.glob("src/unbraid/*.py"),
        *root.glob("src/**/*.html"),
    ]
    return [path.read_bytes()[:20_000] for path in sorted(paths)]


def random_files(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """`count` contents, each with a suffix."""
    rng = random.Random(seed)
    real = seeds()
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            data = rng.randbytes(rng.randrange(2000))
        elif kind == 1:
            data = bytearray(rng.choice(real))
            for _ in range(rng.randrange(1, 60)):
                place = rng.randrange(len(data))
                data[place : place + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
            data = bytes(data[: rng.randrange(1, len(data) + 1)])
        elif kind == 2:  # one piece or two, many times: what makes parsers slow
            text = "".join(rng.choices(PIECES, k=rng.choice((1, 1, 2, 3)))) * rng.choice((10, 300, 4000))
            data = text.encode(rng.choice(ENCODINGS), "replace")
        else:
            text = "".join(rng.choices(PIECES, k=rng.randrange(300)))
            data = text.encode(rng.choice(ENCODINGS), "replace")
        yield data, rng.choice(SUFFIXES)


def check(data: bytes, suffix: str) -> str:
    """Read one file; returns "read" or the reason of a refusal. Raises AssertionError for a chunk that is wrong."""
    try:
        content = read_file(data, suffix)
    except DataError as error:
        return str(error)
    limit = starter_limit()
    assert max(limit.sizes([chunk.encoded for chunk in content.chunks]), default=0) <= limit.tokens
    for chunk in content.chunks:
        assert chunk.snippet.strip()
        assert chunk.first_line and chunk.last_line and chunk.first_line <= chunk.last_line
        assert "\0" not in chunk.encoded
        chunk.encoded.encode()  # no lone surrogates
    front_matter_fields(data.decode("utf-8", "replace").split("\n"))
    return "read"


def main() -> None:
    """Print what became of the files, the slowest ones and the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    results: Counter[str] = Counter()
    slowest: list[tuple[float, int, str]] = []
    for number, (data, suffix) in enumerate(random_files(asked.count, asked.seed)):
        start = time.process_time()
        try:
            results[check(data, suffix)] += 1
        except BaseException:
            print(f"file {number} of seed {asked.seed}, {suffix!r}: {data[:200]!r}", file=sys.stderr)
            raise
        slowest = sorted([*slowest, (time.process_time() - start, number, suffix)], reverse=True)[:5]
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for reason, count in results.most_common():
        print(f"{count:6,}  {reason}")
    for seconds, number, suffix in slowest:
        print(f"{seconds:6.2f} s  file {number} {suffix}")
    print(f"{megabytes:6,} MB")
    if slowest and (slowest[0][0] > MOST_SECONDS or megabytes > MOST_MEGABYTES):
        sys.exit(1)


if __name__ == "__main__":
    main()
