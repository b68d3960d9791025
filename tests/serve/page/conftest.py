"""The search page in Chromium, as its user sees it: over real sockets, with the starter."""

import base64
import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

import unbraid
from unbraid.distill.drawings import draw
from unbraid.serve import BundleEngine

# The system's browser: playwright's own is a download of 170 MB, which pip does not make.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

HOSTILE = '<img src=x onerror="document.title=1">'
TEXTS = {
    "keys.md": "# Rotating keys\n\nTo rotate an API key, write the new one into the file and restart the server.\n",
    "weather/rain.md": "# Rain\n\nRain falls from clouds when drops grow heavy.\n"
    + "It rained all day.\n" * 20,
    "disk.md": "# Full disks\n\nA backup that ends with code QX7 has met a full disk.\n",
    "sort.py": "def sort_by_length(words):\n    return sorted(words, key=len)\n",
    "clock.py": "def seconds_of(hours, minutes):\n    return hours * 3600 + minutes * 60\n",
    f"{HOSTILE.replace('/', '')}.txt": f"{HOSTILE}<script>document.title = 2</script><b>bold</b>\n",
    f"{'long-' * 40}name.txt": "unbreakable" * 60 + "\n",
}
PICTURES = {"pie.png": "pie chart", "bars.png": "bar chart", "map.png": "map", "flow.png": "flow diagram"}

# Every text's contrast with the nearest opaque background behind it, where it is under WCAG's AA.
LOW_CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = channels(colour).map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => {
    const colour = getComputedStyle(element).backgroundColor;
    return channels(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  const low = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility()) continue;
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    if (ratio < 4.5) low.push([text.data.trim().slice(0, 40), ratio]);
  }
  return low;
}"""

# What the page's policy (CSP) forbids; Chromium alone logs only some of it.
REPORT = """addEventListener("securitypolicyviolation",
  event => console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`))"""

# Drops or pastes a picture, or text, or both, as a system hands them to a page.
HAND = """(target, [kind, picture, text]) => {
  const transfer = new DataTransfer();
  if (picture) {
    const bytes = Uint8Array.from(atob(picture), one => one.charCodeAt(0));
    transfer.items.add(new File([bytes], "mine.png", { type: "image/png" }));
  }
  if (text) transfer.setData("text/plain", text);
  const options = { dataTransfer: transfer, clipboardData: transfer, bubbles: true, cancelable: true };
  target.dispatchEvent(kind === "drop" ? new DragEvent(kind, options) : new ClipboardEvent(kind, options));
}"""


@pytest.fixture(scope="session")
def engine():
    return BundleEngine(unbraid.load(threads=1), workers=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    (folder / "weather").mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    for seed, (name, kind) in enumerate(PICTURES.items()):
        draw(seed, kind).image.save(folder / name)
    return folder


@pytest.fixture(scope="session")
def index(engine, folder, indexing, tmp_path_factory):
    with indexing(engine.embedder, [folder], tmp_path_factory.mktemp("index") / "i") as (_, search):
        yield search


@pytest.fixture(scope="session")
def total() -> int:
    """How many passages and pictures the index holds."""
    return len(TEXTS) + len(PICTURES)


@pytest.fixture(scope="session")
def hostile() -> str:
    """What would run in a page that shows it as HTML; a file has it as its name."""
    return HOSTILE


@pytest.fixture(scope="session")
def hostile_text() -> str:
    """The text of that file."""
    return TEXTS[f"{HOSTILE}.txt"].strip()


@pytest.fixture(scope="module")
def url(serving, engine, index):
    with serving(engine, index=index) as http:
        yield http.url


@pytest.fixture(scope="module")
def browser():
    """One for each file of tests: while it runs, no other test may have an event loop."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        sync_playwright() as driver,
        contextlib.closing(driver.chromium.launch(executable_path=CHROMIUM, args=arguments)) as browser,
    ):
        expect.set_options(timeout=20_000)  # a busy machine's; what is there is seen at once
        yield browser


@dataclass
class Visit:
    """An open page, and what it has done."""

    page: Any
    errors: list[str] = field(default_factory=list)  # of its console
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of its searches
    hosts: set[str] = field(default_factory=set)

    def note(self, request: Any) -> None:
        """Keep what a request was for."""
        address = urlsplit(request.url)
        if address.scheme != "data":
            self.hosts.add(address.netloc)
        if address.path == "/v1/search":
            self.asked.append(request.post_data_json)

    def log(self, line: Any) -> None:
        """Keep an error of the console."""
        if line.type in ("error", "warning"):
            self.errors.append(line.text)

    def crash(self, error: Any) -> None:
        """Keep an error that nothing in the page has caught."""
        self.errors.append(str(error))

    @property
    def query(self) -> Any:
        return self.page.get_by_role("searchbox", name="What to search for")

    @property
    def hits(self) -> Any:
        return self.page.get_by_role("list", name="Hits").get_by_role("listitem")

    @property
    def said(self) -> Any:
        return self.page.get_by_role("status")

    def search(self, text: str, says: str = "hits in") -> None:
        """Type, press Enter and see the hits."""
        self.query.fill(text)
        self.query.press("Enter")
        expect(self.said).to_contain_text(says)

    def order(self) -> list[str]:
        """The names of the hits, the best first."""
        return [re.sub(r"^[^/]*/", "", name) for name in self.hits.locator(".path").all_inner_texts()]

    def mode(self, name: str) -> Any:
        return self.page.get_by_role("group", name="Search mode").get_by_role("radio", name=name)

    def show(self, name: str) -> Any:
        return self.page.get_by_role("group", name="Show").get_by_role("radio", name=name)

    def hand(self, kind: str, picture: Path | None, text: str = "") -> None:
        """Drop or paste a picture, a text or both."""
        content = picture and base64.b64encode(picture.read_bytes()).decode()
        self.query.evaluate(HAND, [kind, content, text])

    def refused(self, count: int) -> None:
        """Take out the lines in which Chromium itself logs answers over 399 and requests that got none."""
        assert all(line.startswith("Failed to load resource") for line in self.errors), self.errors
        assert len(self.errors) == count
        self.errors.clear()

    def with_model(self, *, multi_vector: bool) -> None:
        """Open the page anew, of a server whose model has multi-vectors or has none."""

        def answer(route: Any) -> None:
            about = route.fetch().json()
            about["data"][0]["multi_vector"] = multi_vector
            route.fulfill(json=about)

        self.page.route("**/v1/models", answer)
        self.page.reload()

    def answered(self, *, hits: int = 1, own: str | None = None, **hit: Any) -> None:
        """Answer every search by that number of hits, or as many as it asks for."""
        full = {"score": 0.5, "path": "/a/b.md", "modality": "text", "snippet": "text"}
        full |= {"cosine": 0.5, "bm25": 1.0, "boxes": [], "marks": [], "copies": [], "picture": None, **hit}

        def answer(route: Any) -> None:
            count = min(hits, route.request.post_data_json["k"])
            found = [
                {"first_line": row + 1, "last_line": row + 1, **full, "rank": row + 1} for row in range(count)
            ]
            about = {"mode": "retrieval", "base": "AAAA", "own": own, "encoded": True}
            route.fulfill(json={**about, "data": found})

        self.page.route("**/v1/search", answer)

    def low_contrast(self) -> list[Any]:
        """The texts that are hard to read, with their contrast."""
        return list(self.page.evaluate(LOW_CONTRAST))


@pytest.fixture(scope="session")
def visiting():
    """`with visiting(page) as visit`: the page, just opened. It asks no other host, and logs no error."""
    return _visiting


@pytest.fixture(scope="session")
def window():
    """`with window(browser, url) as page`: a window of its own."""
    return _window


@contextlib.contextmanager
def _visiting(page, *, mode="retrieval", address="/") -> Iterator[Visit]:
    """The page, just opened. It must ask no other host, and log no error that the test has not taken out."""
    visit = Visit(page)
    listeners = {"request": visit.note, "console": visit.log, "pageerror": visit.crash}
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(address)
    if mode:
        expect(visit.mode(mode)).to_be_checked()
    try:
        yield visit
        assert not visit.errors
        assert visit.hosts == {urlsplit(page.url).netloc}
    finally:
        page.unroute_all(behavior="ignoreErrors")
        for event, listener in listeners.items():
            page.remove_listener(event, listener)


@contextlib.contextmanager
def _window(browser, url, **options) -> Iterator[Any]:
    """A window of its own."""
    with contextlib.closing(browser.new_context(base_url=url, **options)) as context:
        context.set_default_timeout(20_000)
        context.add_init_script(REPORT)
        yield context.new_page()


@pytest.fixture(scope="module")
def page(browser, url):
    with _window(browser, url) as page:
        yield page


@pytest.fixture
def visit(page):
    with _visiting(page) as visit:
        yield visit
