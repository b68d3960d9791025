"""Servers over real sockets, and a client of them."""

import asyncio
import base64
import contextlib
import io
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.serve import BundleEngine, Settings, create_app
from unbraid.serve.engine.openai_tokens import OpenAITokens
from unbraid.serve.routes.index_search import IndexSearch
from unbraid.serve.uvicorn_server import Server


class Client(httpx.Client):
    """A client of a server in this process: `app` is its application, `url` its address."""

    def __init__(self, url, app):
        super().__init__(base_url=url, timeout=30)
        self.url, self.app = url, app

    def embed(self, value, **fields):
        return self.post("/v1/embeddings", json={"input": value, **fields})

    def search(self, **fields):
        return self.post("/v1/search", json=fields)


@pytest.fixture(scope="session")
def serving():
    """`with serving(engine, settings, index) as http`: a running server and its client."""

    @contextlib.contextmanager
    def run(engine, settings=None, index=None):
        app = create_app(engine, settings or Settings(), index)
        server = Server(app, host="127.0.0.1", port=0)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
                assert thread.is_alive()
            port = server.servers[0].sockets[0].getsockname()[1]
            with Client(f"http://127.0.0.1:{port}", app) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    return run


@pytest.fixture(scope="session")
def indexing():
    """`with indexing(model, paths, folder) as (index, search)`: an index of `paths`, and its search for a server."""

    @contextlib.contextmanager
    def run(model, paths, folder):
        with unbraid.open_index(folder, model=model) as index:
            index.add(paths)
            yield index, IndexSearch(index)

    return run


def no_tiktoken():
    raise ModuleNotFoundError("No module named 'tiktoken'", name="tiktoken")


@pytest.fixture(scope="session")
def no_vocabulary():
    """Token ids without tiktoken, so that no test downloads a vocabulary."""
    tokens = OpenAITokens(no_tiktoken)
    asyncio.run(tokens.ready())
    return tokens


@pytest.fixture(scope="session")
def engine(bundle_folder, no_vocabulary):
    return BundleEngine(unbraid.load(bundle_folder, threads=1), workers=2, openai_tokens=no_vocabulary)


@pytest.fixture(scope="session")
def picture_file(tmp_path_factory, png):
    folder = tmp_path_factory.mktemp("served")
    (folder / "red.png").write_bytes(png((900, 600)))
    (folder / "secret.png").write_bytes(png())
    (folder / "rain.md").write_text("# Rain\n\nthe red house\n")
    return folder / "red.png"


@pytest.fixture(scope="module")
def opened(engine, picture_file, indexing, tmp_path_factory):
    paths = [picture_file, picture_file.parent / "rain.md"]
    with indexing(engine.embedder, paths, tmp_path_factory.mktemp("index") / "i") as opened:
        yield opened


@pytest.fixture(scope="module")
def store(opened):
    return opened[0].store


@pytest.fixture(scope="module")
def index(opened):
    return opened[1]


@pytest.fixture(scope="module")
def http(serving, engine, index):
    """The client of a server of the tiny bundle with an index."""
    with serving(engine, Settings(aliases=("text-embedding-3-small",)), index) as http:
        yield http


@pytest.fixture(scope="session")
def png():
    def png(size=(8, 8), color="red", **options):
        out = io.BytesIO()
        Image.new("RGB", size, color).save(out, "PNG", **options)
        return out.getvalue()

    return png


@pytest.fixture(scope="session")
def data_url():
    return lambda content: "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.fixture(scope="session")
def vectors():
    """The vectors of an answer."""

    def read(answer):
        assert answer.status_code == 200, answer.text
        return np.array([one["embedding"] for one in answer.json()["data"]], dtype=np.float32)

    return read


@pytest.fixture(scope="session")
def refused():
    """Check that an answer is a refusal of this status and code; its message comes back."""

    def check(answer, status, code):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"]
        return answer.json()["error"]["message"]

    return check


@pytest.fixture(scope="session")
def eventually():
    """Ask until it is true: the server may not have read yet what was sent before."""

    def wait(is_true):
        deadline = time.monotonic() + 10
        while not is_true():
            assert time.monotonic() < deadline

    return wait
