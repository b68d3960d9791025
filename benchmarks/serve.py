"""How fast `unbraid serve` answers, beside `encode` in process and a plain FastAPI server, and under overload.

    python benchmarks/serve.py                    # throughput and latency; needs fastapi, or --no-plain
    python benchmarks/serve.py --overload 300     # three times the sustainable rate, for so many seconds
    python benchmarks/serve.py --start            # from the start of the process to its first answer

Servers and clients share this machine's cores, so the clients' work counts against the servers; `encode` in process has
all cores to itself.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httptools
import httpx

import unbraid

CLIENTS = 32
LONG = ("--limit", "queue_seconds=300")  # no request is refused, however busy the cores are
PLAIN = """
import asyncio, sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from unbraid.teacher.minilm import minilm_folder
from unbraid.torchvision_shim import ensure_torchvision
ensure_torchvision()
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(str(minilm_folder()), device="cpu")
class Request(BaseModel):
    input: str | list[str]
@app.get("/ready")
def ready(): return {}
@app.post("/v1/embeddings")
def embeddings(request: Request):
    texts = [request.input] if isinstance(request.input, str) else request.input
    vectors = model.encode(texts)
    return {"object": "list", "data": [{"object": "embedding", "index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]}
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


def texts_of(count: int, words: int) -> list[str]:
    """`count` different texts of `words` words, from the standard library's documentation."""
    import pydoc
    import string as one
    import textwrap as two

    source = " ".join(
        pydoc.plain(pydoc.render_doc(module))
        for module in (json, argparse, asyncio, socket, subprocess, one, two)
    ).split()
    return [" ".join(source[(n * 7919) % (len(source) - words) :][:words]) for n in range(count)]


@contextlib.contextmanager
def server(command: Sequence[str], port: int) -> Iterator[int]:
    """The process id of a running server, once it is ready."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Client(asyncio.Protocol):
    """A persistent connection with as little work as possible: the cores are the servers' too."""

    def __init__(self) -> None:
        """Not connected."""
        self.answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse the answer."""
        self.parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the request that waits."""
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed"))

    def on_message_complete(self) -> None:
        """Finish the request that waits."""
        status = self.parser.get_status_code()
        self.parser = httptools.HttpResponseParser(self)
        if self.answer and not self.answer.done():
            self.answer.set_result(status)

    async def post(self, body: bytes) -> int:
        """The status of the answer to a request."""
        self.answer = asyncio.get_running_loop().create_future()
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        return await self.answer


async def connect(port: int) -> Client:
    """A connected client."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


def bodies_of(texts: Sequence[str], size: int) -> list[bytes]:
    """Bodies of `size` texts each, as OpenAI's client writes them."""
    return [
        json.dumps(
            {"input": list(texts[start : start + size]), "model": "starter", "encoding_format": "base64"}
        ).encode()
        for start in range(0, len(texts), size)
    ]


async def throughput(port: int, bodies: Sequence[bytes], clients: int) -> tuple[float, list[float]]:
    """Seconds until `clients` clients have sent all bodies, and the latency of each request."""
    waiting = list(reversed(bodies))
    latencies: list[float] = []
    connections = [await connect(port) for _ in range(clients)]

    async def work(client: Client) -> None:
        while waiting:
            started = time.perf_counter()
            status = await client.post(waiting.pop())
            assert status == 200, status
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    seconds = time.perf_counter() - started
    for client in connections:
        client.transport.close()
    return seconds, latencies


def compare(rounds: int, plain: bool) -> None:
    """Print the throughput with 32 clients and the latency of one short query, beside the call in process."""
    model = unbraid.load()
    one = unbraid.load(threads=1)
    port, plain_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            server([sys.executable, "-m", "unbraid", "serve", "--port", str(port), *LONG], port)
        )
        if plain:
            stack.enter_context(server([sys.executable, "-c", PLAIN, str(plain_port)], plain_port))
        print(
            "| requests | in process, texts/s | unbraid serve | ratio, median (worst) | FastAPI + sentence-transformers |"
        )
        print("| --- | ---: | ---: | --- | ---: |")
        for words, size, count in ((22, 1, 800), (22, 16, 1600), (180, 1, 160), (180, 16, 320)):
            texts = texts_of(count, words)
            bodies = bodies_of(texts, size)
            few = bodies[: max(CLIENTS, len(bodies) // 4)]
            ours, theirs, inside = [], [], []
            for _ in range(rounds):
                started = time.perf_counter()
                model.encode(texts, on_truncate="ignore", progress=False)
                inside.append(len(texts) / (time.perf_counter() - started))
                seconds, _ = asyncio.run(throughput(port, bodies, CLIENTS))
                ours.append(len(texts) / seconds)
                if plain:
                    seconds, _ = asyncio.run(throughput(plain_port, few, CLIENTS))
                    theirs.append(len(few) * size / seconds)
            ratios = [a / b for a, b in zip(ours, inside, strict=True)]
            print(
                f"| {CLIENTS} clients, {size} texts of {words} words | {median(inside):.0f} | {median(ours):.0f} | "
                f"{median(ratios):.2f} ({min(ratios):.2f}) | {f'{median(theirs):.0f}' if plain else ''} |",
                flush=True,
            )
        body, query = bodies_of(["how do I rotate the keys"], 1), "how do I rotate the keys"
        inside, ours, theirs = [], [], []
        for _ in range(rounds):
            for _ in range(40):
                started = time.perf_counter()
                one.encode([query], progress=False)
                inside.append(time.perf_counter() - started)
            ours += asyncio.run(throughput(port, body * 40, 1))[1]
            if plain:
                theirs += asyncio.run(throughput(plain_port, body * 40, 1))[1]
        print(
            f"one short query, p50: {median(inside) * 1000:.2f} ms in process, {median(ours) * 1000:.2f} ms served "
            f"(goal {median(inside) * 2000 + 3:.2f}), "
            + (f"{median(theirs) * 1000:.2f} ms by the plain server" if plain else "")
        )


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def quantile(values: Sequence[float], part: float) -> float:
    """The `part` quantile of `values`; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0


@dataclass
class Flood:
    """The outcome of open-loop requests: counts by status or error, seconds of each, peak memory in MB."""

    statuses: dict[object, int] = field(default_factory=dict)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    most: float = 0.0


async def flood(port: int, bodies: Sequence[bytes], rate: float, seconds: float, pid: int) -> Flood:
    """Send `rate` requests a second, whether or not answers come (open loop)."""
    found = Flood()
    idle: list[Client] = []
    tasks: set[asyncio.Task[None]] = set()

    async def ask(body: bytes) -> None:
        started = time.perf_counter()
        try:
            client = idle.pop() if idle else await connect(port)
            status: object = await client.post(body)
            if status == 200:  # the connection of a refusal is closed
                idle.append(client)
            else:
                client.transport.close()
        except OSError as error:
            status = type(error).__name__
        (found.accepted if status == 200 else found.refused).append(time.perf_counter() - started)
        found.statuses[status] = found.statuses.get(status, 0) + 1

    started, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - started) < seconds:
        while sent < now * rate:
            task = asyncio.ensure_future(ask(bodies[sent % len(bodies)]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        found.most = max(found.most, resident(pid))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    for client in idle:
        client.transport.close()
    return found


def overload(seconds: float) -> None:
    """Print statuses, latency and memory at three times the sustainable rate, and the speed afterwards."""
    bodies = bodies_of(texts_of(2000, 22), 4)
    port = free_port()
    with server([sys.executable, "-m", "unbraid", "serve", "--port", str(port)], port) as pid:
        took, _ = asyncio.run(throughput(port, bodies * 2, CLIENTS))
        rate = 2 * len(bodies) / took
        time.sleep(2)
        warm = resident(pid)
        # Unloaded: a tenth of the rate, open-loop like the flood, so that both measure the same.
        calm = asyncio.run(flood(port, bodies, rate / 10, 20, pid))
        unloaded = quantile(calm.accepted, 0.99)
        found = asyncio.run(flood(port, bodies, 3 * rate, seconds, pid))
        after = []
        for _ in range(6):
            started = time.perf_counter()
            took, _ = asyncio.run(throughput(port, bodies[: int(rate)], CLIENTS))
            after.append((time.perf_counter() - started, int(rate) / took))
        print(f"sustainable {rate:.0f} requests/s of 4 texts, offered {3 * rate:.0f}/s for {seconds:.0f} s")
        print(f"answers: {found.statuses}; accepted {len(found.accepted) / seconds:.0f}/s")
        print(
            f"p50, p99 of accepted: {quantile(found.accepted, 0.5):.2f}, {quantile(found.accepted, 0.99):.2f} s; unloaded "
            f"p99 {unloaded * 1000:.0f} ms; allowed {4 * unloaded + 5:.2f} s; of refused: "
            f"{quantile(found.refused, 0.5):.3f}, {quantile(found.refused, 0.99):.2f} s"
        )
        print(f"resident: idle-warm {warm:.0f} MB, most {found.most:.0f} MB, ratio {found.most / warm:.2f}")
        print("afterwards, requests/s: " + ", ".join(f"{speed:.0f}" for _, speed in after))


def start(times: int) -> None:
    """Print the time from the start of the process to its first answer."""
    body = bodies_of(["how do I rotate the keys"], 1)[0]
    taken = []
    for _ in range(times):
        port = free_port()
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "unbraid", "serve", "--port", str(port)], stderr=subprocess.DEVNULL
        )
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)):
                    break
            except OSError:
                time.sleep(0.005)

        async def ask(port: int = port) -> int:
            return await (await connect(port)).post(body)

        assert asyncio.run(ask()) == 200
        taken.append(time.perf_counter() - started)
        process.terminate()
        process.wait()
    print(f"start to first answer: median {median(taken):.2f} s, worst {max(taken):.2f} s of {times}")


def main() -> None:
    """Run the benchmark that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-plain", action="store_true", help="without sentence-transformers")
    parser.add_argument("--overload", type=float, metavar="SECONDS")
    parser.add_argument("--start", action="store_true")
    chosen = parser.parse_args()
    if chosen.start:
        start(7)
    elif chosen.overload:
        overload(chosen.overload)
    else:
        compare(chosen.rounds, not chosen.no_plain)


if __name__ == "__main__":
    main()
