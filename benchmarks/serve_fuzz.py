"""Malformed requests against `unbraid serve`: no 5xx, no crash, no hang, and every refusal is an error object.

    python benchmarks/serve_fuzz.py --count 6000 --seed 0

It starts a server of the starter, sends `count` bodies made from the seed, and then asks for a vector. Token ids of
cl100k_base are decoded only where tiktoken finds its vocabulary (TIKTOKEN_CACHE_DIR).
"""

import argparse
import base64
import collections
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

PATHS = ("/v1/embeddings", "/v1/map", "/v1/search")
FIELDS = (
    *("input", "model", "task", "dimensions", "encoding_format", "embedding_type", "normalized", "truncate"),
    *(
        "return_multivector",
        "late_chunking",
        "user",
        "base",
        "query",
        "mode",
        "k",
        "modality",
        "paths",
        "languages",
    ),
    *("where", "text", "code", "image", "type", "", "__proto__"),
)
WORDS = (
    *(
        "a cat",
        "starter",
        "starter:query",
        "starter:",
        ":",
        "query",
        "base",
        "retrieval.passage",
        "float",
        "base64",
    ),
    *(
        "binary",
        "image",
        "symmetric",
        "[CLS]",
        "\u202e\u0000",
        "\U0001f600" * 50,
        "a\u0301" * 200,
        "\ufffe",
        " ",
        "",
    ),
    *(
        "data:image/png;base64,",
        "data:image/png;base64,AAAA",
        "data:image/svg+xml,<svg/>",
        "https://127.0.0.1/x",
    ),
    *(
        "file:///etc/passwd",
        "../../etc/passwd",
        "year>=2020",
        "a=b",
        "**/*",
        "${jndi:ldap://x}",
        "%s%n",
        "nan",
    ),
)
NUMBERS = (
    0,
    -1,
    1,
    64,
    512,
    101,
    102,
    30_522,
    2**31,
    2**63,
    2**64,
    -(2**70),
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
)


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header claims `width` x `height` pixels, with any `data`."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x01\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def picture(random: random.Random) -> str:
    """A picture file: broken, cut off, a decompression bomb, or now and then a good one."""
    content = random.choice(
        (
            lambda: png(8, 8, b"\x00\xff" * 8),
            lambda: png(2**31 - 1, 2**31 - 1, b""),
            lambda: png(50_000, 50_000, b"\x00" * 10_000),
            lambda: png(4_900, 5_000, b"\x00" * 100_000),
            lambda: png(1, 4_000_000, b"\x00" * 10_000),
            lambda: png(0, 0, b""),
            lambda: random.randbytes(random.randrange(200)),
            lambda: b"GIF89a" + random.randbytes(60),
            lambda: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + random.randbytes(100),
            lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 " + random.randbytes(100),
            lambda: b"%PDF-1.7" + random.randbytes(100),
        )
    )()
    if random.random() < 0.3 and content:
        place = random.randrange(len(content))
        content = content[:place] + random.randbytes(3) + content[place + 3 :]
    if random.random() < 0.2:
        content = content[: random.randrange(len(content) + 1)]
    text = base64.b64encode(content).decode()
    if random.random() < 0.2:
        text = text[:-1] + random.choice("=\n*\u00e9")
    return random.choice(("data:image/png;base64,", "data:image/webp;charset=x;base64,", "data:,", "")) + text


def openai_ids(random: random.Random) -> list[int]:
    """Ids of cl100k_base: single bytes, any text, ids outside of it, its longest tokens (128 characters)."""
    pool = random.choice(
        (range(256), range(100_256), range(100_200, 100_300), (58_040, 90_280), (101, 102, 100_257))
    )
    return [random.choice(pool) for _ in range(random.choice((1, 2, 40, 1_600, 8_191)))]


def value(random: random.Random, depth: int = 0) -> Any:
    """Any JSON value, most often a nearly right one."""
    pick = random.random()
    if depth > 4 or pick < 0.35:
        return random.choice((None, True, False, *NUMBERS, *WORDS, *WORDS))
    if pick < 0.45:
        return picture(random)
    if pick < 0.5:
        return "x" * random.choice((1, 1000, 250_000))
    if pick < 0.55:
        return [random.choice(NUMBERS)] * random.choice((1, 512, 3000))
    if pick < 0.6:
        ids = [random.randrange(40_000) for _ in range(random.choice((0, 5, 300)))]
        return [101, *ids, 102] if random.random() < 0.5 else openai_ids(random)
    if pick < 0.8:
        return [value(random, depth + 1) for _ in range(random.randrange(6))]
    return {random.choice(FIELDS): value(random, depth + 1) for _ in range(random.randrange(4))}


def nested(random: random.Random) -> bytes:
    """Deeply nested brackets, closed or not."""
    opening, closing = random.choice(((b"[", b"]"), (b'{"input":', b"}"), (b'{"a":[', b"]}")))
    depth = random.choice((50, 190, 250, 5_000, 100_000))
    return b'{"input":' + opening * depth + b"1" + closing * random.choice((depth, depth - 1, 0)) + b"}"


def body(random: random.Random, path: str) -> bytes:
    """The body of a malformed, or nearly right, request."""
    pick = random.random()
    if pick < 0.03:
        return nested(random)
    if pick < 0.06:
        return random.randbytes(random.randrange(300))
    if pick < 0.08:
        return b'{"input":' + b"[]," * random.choice((10, 400_000)) + b"[]}"
    if pick < 0.10:
        return b'{"input":' + b"9" * random.choice((400, 5_000, 100_000)) + b"}"
    good = {
        "/v1/embeddings": {
            "input": "a cat",
            "model": "starter",
            **random.choice(({}, {}, {"return_multivector": True})),
        },
        "/v1/map": {"base": [[1.0] * 512], "task": "query"},
        "/v1/search": random.choice(({"query": "a cat"}, {"base": [1.0] * 512})),
    }[path]
    chosen: dict[str, Any] = dict(good)
    for _ in range(random.randrange(1, 3)):
        chosen[random.choice((*good, random.choice(FIELDS)))] = value(random)
    text = json.dumps(chosen, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    if random.random() < 0.12:
        place = random.randrange(len(text))
        broken = random.choice(
            (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"\\u12", b"\x00", b"NaN", b",", b"}")
        )
        text = text[:place] + broken + text[place + random.randrange(2) :]
    if random.random() < 0.04:
        text = text[: random.randrange(len(text))]
    return text


def requests(seed: int, count: int) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """(path, body, headers) of `count` requests."""
    source = random.Random(seed)
    for _ in range(count):
        headers = {"content-type": "application/json"}
        if source.random() < 0.03:
            headers["content-type"] = source.choice(
                ("text/plain", "application/json; charset=utf-16", "", "a/b/c", "\x7f")
            )
        if source.random() < 0.03:
            headers["x-request-id"] = source.choice(("a" * 100, "<script>", "ok-1"))
        if source.random() < 0.02:
            headers["authorization"] = source.choice(("Basic ====", "Bearer", "\u00ff", "Basic /w=="))
        path = source.choice(PATHS)
        yield path, body(source, path), headers


def code_of(answer: httpx.Response) -> str:
    """The code of a refusal. uvicorn itself answers what is not HTTP."""
    if answer.content == b"Invalid HTTP request received.":
        return "invalid_http"
    return str(answer.json()["error"]["code"])


def check(answer: httpx.Response) -> str | None:
    """The fault of an answer; None for a good one."""
    if answer.status_code == 200:
        return None if isinstance(answer.json()["data"], list) else "an answer without data"
    if answer.status_code not in (400, 404, 408, 413, 415, 429):
        return f"status {answer.status_code}"
    if code_of(answer) == "invalid_http":
        return None
    error = answer.json()["error"]
    if (
        set(error) != {"message", "type", "param", "code"}
        or not error["code"]
        or len(error["message"]) > 2000
    ):
        return f"not our error object: {error}"
    return None


def slow(port: int, count: int, seconds: float) -> int:
    """How many of `count` slow senders get a 408 within `seconds`."""
    refused = 0
    sockets = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        )
        one.settimeout(seconds)
        sockets.append(one)
    deadline = time.monotonic() + seconds
    for one in sockets:
        answer = b""
        while not answer and time.monotonic() < deadline:
            try:
                one.sendall(b" ")
                one.settimeout(0.2)
                answer = one.recv(100)
            except TimeoutError:
                continue
            except OSError:
                break
        refused += b" 408 " in answer
        one.close()
    return refused


def main() -> None:
    """Print the statuses, the codes and the wrong answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    folder = tempfile.TemporaryDirectory()
    docs = Path(__file__).parent.parent / "docs"
    unbraid = [sys.executable, "-m", "unbraid"]
    subprocess.run(
        [*unbraid, "index", str(docs), "--into", f"{folder.name}/i"], check=True, capture_output=True
    )
    command = [
        *unbraid,
        "serve",
        "--port",
        str(port),
        "--limit",
        "body_seconds=2",
        "--index",
        f"{folder.name}/i",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    statuses: collections.Counter[int] = collections.Counter()
    codes: collections.Counter[str] = collections.Counter()
    wrong, slowest = [], (0.0, -1)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            deadline = time.monotonic() + 60
            while True:
                try:
                    if http.get("/ready").status_code == 200:
                        break
                except httpx.HTTPError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            for number, (path, content, headers) in enumerate(requests(chosen.seed, chosen.count)):
                started = time.perf_counter()
                try:
                    sent = {name: text.encode("latin-1") for name, text in headers.items()}
                    answer = http.post(path, content=content, headers=sent)
                except httpx.LocalProtocolError:
                    continue  # httpx does not send such a header
                statuses[answer.status_code] += 1
                slowest = max(slowest, (time.perf_counter() - started, number))
                if answer.status_code != 200:
                    codes[code_of(answer)] += 1
                if problem := check(answer):
                    wrong.append((number, problem))
                    print(number, problem, path, content[:300], answer.text[:300], flush=True)
            refused = slow(port, 20, 15)
            alive = http.post("/v1/embeddings", json={"input": "a cat"}).status_code == 200
    finally:
        process.terminate()
        process.wait()
        folder.cleanup()
    print(f"{sum(statuses.values())} bodies: {dict(sorted(statuses.items()))}, {len(wrong)} wrong answers")
    print("refused as " + ", ".join(f"{code} {count}" for code, count in codes.most_common()))
    print(f"slowest {slowest[0]:.2f} s (number {slowest[1]}); slow senders refused: {refused} of 20")
    print(f"afterwards the server {'answers' if alive else 'DOES NOT ANSWER'}")
    sys.exit(bool(wrong) or not alive or refused < 20)


if __name__ == "__main__":
    main()
