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
from PIL import Image
from playwright.sync_api import expect, sync_playwright

import unbraid
from unbraid.distill.drawings import draw
from unbraid.mix import shared_weights
from unbraid.serve import ApiKeys, BundleEngine, Settings

# The system's browser: playwright's own is a download of 170 MB, which pip does not make.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

KEY = "key-of-one-client"
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
COUNT = len(TEXTS) + len(PICTURES)

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


@pytest.fixture(scope="module")
def engine():
    return BundleEngine(unbraid.load(threads=1), workers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    (folder / "weather").mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    for seed, (name, kind) in enumerate(PICTURES.items()):
        draw(seed, kind).image.save(folder / name)
    return folder


@pytest.fixture(scope="module")
def index(engine, folder, indexing, tmp_path_factory):
    with indexing(engine.embedder, [folder], tmp_path_factory.mktemp("index") / "i") as (_, search):
        yield search


@pytest.fixture(scope="module")
def url(serving, engine, index):
    with serving(engine, index=index) as http:
        yield http.url


@pytest.fixture(scope="module")
def browser():
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


@contextlib.contextmanager
def visiting(page, *, mode="retrieval", address="/") -> Iterator[Visit]:
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
def window(browser, url, **options) -> Iterator[Any]:
    """A window of its own."""
    with contextlib.closing(browser.new_context(base_url=url, **options)) as context:
        context.set_default_timeout(20_000)
        context.add_init_script(REPORT)
        yield context.new_page()


@pytest.fixture(scope="module")
def page(browser, url):
    with window(browser, url) as page:
        yield page


@pytest.fixture
def visit(page):
    with visiting(page) as visit:
        yield visit


def refused(visit, count):
    """Take out the lines in which Chromium itself logs answers over 399 and requests that got none."""
    assert all(line.startswith("Failed to load resource") for line in visit.errors), visit.errors
    assert len(visit.errors) == count
    visit.errors.clear()


# -- asking -----------------------------------------------------------------------------------------------


def test_typing_and_enter_gives_hits_with_snippets_and_scores(visit):
    expect(visit.query).to_be_focused()
    expect(visit.page.get_by_text("Search by meaning")).to_be_visible()
    visit.search("how do I rotate the keys")
    expect(visit.hits).to_have_count(COUNT)
    expect(visit.hits.first).to_contain_text(re.compile(r"^1\d\.\d{3}.*/keys\.md:\d.*text"))
    expect(visit.hits.first).to_contain_text("write the new one into the file")
    expect(visit.said).to_have_text(
        re.compile(
            rf"^{COUNT} hits in retrieval mode, \d+ ms\. A score is the probability that a hit is relevant, by its meaning and its words\.$"
        )
    )
    scores = [float(score.split()[1]) for score in visit.hits.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    expect(visit.page.get_by_text("Search by meaning")).to_be_hidden()


def test_the_button_searches_and_nothing_typed_is_told(visit):
    button = visit.page.get_by_role("button", name="Search", exact=True)
    button.click()
    expect(visit.said).to_have_text("Type something, or drop a picture.")
    visit.query.fill("a map")
    button.click()
    expect(visit.hits).to_have_count(COUNT)
    assert len(visit.asked) == 1


def test_a_picture_that_was_found_is_shown(visit, folder):
    with Image.open(folder / "pie.png") as drawn:
        width = drawn.width
    visit.search("a pie chart")
    picture = visit.page.get_by_role("img", name="pie.png")
    expect(picture).to_have_js_property("naturalWidth", width)
    expect(visit.hits.filter(has=picture)).to_contain_text("picture")


def test_a_picture_that_is_gone_says_so(browser, url, folder):
    path = folder / "map.png"
    path.rename(folder / "moved.png")
    try:  # in a window of its own: the other may have kept the picture
        with window(browser, url) as page, visiting(page) as visit:
            visit.search("a map")
            hit = visit.hits.filter(has_text="map.png")
            expect(hit).to_contain_text("changed or moved since it was indexed")
            refused(visit, 1)
    finally:
        (folder / "moved.png").rename(path)


@pytest.mark.parametrize("way", ["chosen", "dropped", "pasted"])
def test_a_picture_is_a_query(visit, folder, way):
    page, path = visit.page, folder / "pie.png"
    if way == "chosen":
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Picture…").click()
        chooser.value.set_files(path)
    else:
        visit.hand("drop" if way == "dropped" else "paste", path)
    expect(visit.hits.first).to_contain_text(re.compile(r"^1\d\.\d{3}.*/pie\.png"))
    assert visit.asked[0]["query"]["image"].startswith("data:image/png;base64,")
    expect(visit.query).to_have_value("")
    expect(page.get_by_role("img", name="The picture that is searched by")).to_have_js_property(
        "complete", True
    )
    expect(page.get_by_text("pie.png" if way == "chosen" else "mine.png", exact=True)).to_be_visible()

    visit.mode("symmetric").check()
    expect(visit.said).to_contain_text("Nothing was encoded again")
    assert "base" in visit.asked[1] and "query" not in visit.asked[1]

    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Remove")).to_be_hidden()
    expect(visit.query).to_be_focused()
    visit.search("rain")  # a text takes the picture's place
    assert visit.asked[2]["query"] == {"text": "rain"}


def test_a_picture_and_words_are_one_query(visit, folder):
    share = visit.page.get_by_role("slider", name="Share of the words")
    visit.query.fill("a map")
    expect(share).to_be_hidden()
    visit.hand("drop", folder / "pie.png")
    expect(share).to_be_visible()
    expect(visit.said).to_contain_text("by its meaning and its words")
    text, picture = visit.asked[0]["query"]
    assert text == {"text": "a map"} and list(picture) == ["image"]
    assert visit.asked[0]["weights"] == pytest.approx(shared_weights([False, True]))
    assert {"pie.png", "map.png"} <= {re.sub("picture.*", "", name) for name in visit.order()[:4]}

    visit.mode("symmetric").check()
    expect(visit.said).to_contain_text("Nothing was encoded again")
    assert visit.asked[1]["query"] == visit.asked[0]["query"] and "base" in visit.asked[1]  # for its words

    with visit.page.expect_response("**/v1/search"):
        share.fill("0.9")
    assert visit.asked[2]["weights"] == pytest.approx(shared_weights([False, True], 0.9))

    visit.query.fill("")  # the picture alone is what another mode is asked for
    with visit.page.expect_response("**/v1/search"):
        visit.mode("code").check()
    assert list(visit.asked[3]["query"]) == ["image"]


def test_a_picture_can_be_what_is_not_wanted(visit, folder):
    visit.search("a chart")
    visit.hand("drop", folder / "pie.png")
    expect(visit.page.get_by_text("mine.png")).to_be_visible()
    with visit.page.expect_response("**/v1/search"):
        visit.page.get_by_role("checkbox", name="not this").check()
    assert visit.asked[2]["weights"] == shared_weights([False], unwanted=1)
    expect(visit.said).to_contain_text("hits in")
    pictures = [re.sub("picture.*", "", name) for name in visit.order() if "picture" in name]
    assert pictures.index("pie.png") > pictures.index("bars.png")
    expect(visit.page.get_by_role("slider", name="Share of the words")).to_be_hidden()

    visit.query.fill("")
    visit.query.press("Enter")
    expect(visit.said).to_contain_text("Say what you look for too")
    visit.query.fill("rain")
    with visit.page.expect_response("**/v1/search"):
        visit.page.get_by_role("button", name="Remove").click()
    assert visit.asked[3]["query"] == {"text": "rain"}
    expect(visit.page.get_by_role("checkbox", name="not this")).to_have_count(0)


def test_several_pictures_are_one_query(visit, folder):
    visit.page.locator("input[type=file]").set_input_files([folder / "pie.png", folder / "map.png"])
    expect(visit.hits.first).to_be_visible()
    assert [list(one) for one in visit.asked[0]["query"]] == [["image"], ["image"]]
    assert visit.asked[0]["weights"] == [0.5, 0.5]
    assert {"pie.png", "map.png"} == {re.sub("picture.*", "", name) for name in visit.order()[:2]}


# -- the words of a query ---------------------------------------------------------------------------------


def answered(page, *, hits=1, own=None, **hit):
    """Answer every search by that number of hits, or as many as it asks for."""
    full = {"score": 0.5, "path": "/a/b.md", "modality": "text", "snippet": "text"}
    full |= {"cosine": 0.5, "bm25": 1.0, "boxes": [], "marks": [], "copies": [], "picture": None, **hit}

    def answer(route):
        count = min(hits, route.request.post_data_json["k"])
        found = [
            {"first_line": row + 1, "last_line": row + 1, **full, "rank": row + 1} for row in range(count)
        ]
        about = {"mode": "retrieval", "base": "AAAA", "own": own, "encoded": True}
        route.fulfill(json={**about, "data": found})

    page.route("**/v1/search", answer)


def test_the_words_of_a_query_are_marked(visit):
    visit.search("how to rotate a key")
    marks = visit.hits.filter(has_text="keys.md").locator("mark").all_inner_texts()
    assert {"Rotating", "keys", "rotate", "key"} == set(marks)
    visit.page.get_by_role("checkbox", name="Words too").uncheck()
    expect(visit.said).to_contain_text("by its meaning.")
    expect(visit.hits.locator("mark")).to_have_count(0)


def test_marks_count_characters_and_what_is_marked_is_text(visit):
    snippet = f"\N{PILE OF POO}\N{FAMILY} {HOSTILE} end"
    answered(visit.page, snippet=snippet, marks=[[3, 3 + len(HOSTILE)]])
    visit.query.fill("x")
    visit.query.press("Enter")
    expect(visit.hits.locator("mark")).to_have_text(HOSTILE)
    assert visit.hits.locator("pre").inner_text() == snippet
    assert visit.page.title() == "unbraid search"


def test_the_lines_of_a_picture_that_hold_the_words_are_outlined_and_listed(visit, folder):
    about = {"path": str(folder / "pie.png"), "modality": "image", "first_line": None, "last_line": None}
    boxes = [[0.1, 0.0, 0.9, 0.1], [0.25, 0.5, 0.75, 0.6], [0, 0.9, 1, 1]]
    about |= {"snippet": "Rain\nof the year\nin mm", "boxes": boxes, "marks": [[12, 16]]}
    answered(visit.page, **about, picture=f"/v1/pictures?path={folder / 'pie.png'}")
    visit.query.fill("year")
    visit.query.press("Enter")
    picture, outline = visit.page.get_by_role("img", name="pie.png"), visit.hits.locator(".frame i")
    expect(picture).not_to_have_js_property("naturalWidth", 0)
    expect(outline).to_have_count(1)
    expect(visit.hits.locator(".words")).to_have_text("of the year")
    expect(visit.hits.locator("mark")).to_have_text("year")
    whole, line = picture.bounding_box(), outline.bounding_box()
    assert (line["x"] - whole["x"]) / whole["width"] == pytest.approx(0.25, abs=0.02)
    assert (line["y"] - whole["y"]) / whole["height"] == pytest.approx(0.5, abs=0.02)
    assert line["width"] / whole["width"] == pytest.approx(0.5, abs=0.02)


def test_a_found_picture_can_be_dragged_into_the_query(visit):
    visit.search("a bar chart")
    visit.page.get_by_role("img", name="bars.png").drag_to(visit.query)
    expect(visit.page.get_by_text("bars.png", exact=True)).to_be_visible()
    expect(visit.hits.first).to_contain_text("bars.png")
    assert visit.asked[1]["query"][0] == {"text": "a bar chart"} and "image" in visit.asked[1]["query"][1]


def test_what_is_no_picture_is_text_or_refused(visit, tmp_path, folder):
    page = visit.page
    visit.hand("drop", None, "heavy drops")
    expect(visit.hits.first).to_contain_text("rain.md")
    expect(visit.query).to_have_value("heavy drops")
    visit.hand("paste", folder / "pie.png", "a\tb")  # cells of a table
    (tmp_path / "a.txt").write_text("a")
    page.locator("input[type=file]").set_input_files(tmp_path / "a.txt")
    expect(visit.said).to_have_text("a.txt is no picture.")
    assert len(visit.asked) == 1


# -- search modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_another_mode_reorders_by_the_vector_that_is_there(visit, by):
    visit.search("sort the words by how long they are")
    orders = {"retrieval": visit.order()}
    base = None
    for number, mode in enumerate(["retrieval", "symmetric", "code"], 1):
        if number == 1:
            continue
        with visit.page.expect_response("**/v1/search") as answer:
            if by == "mouse":
                visit.page.get_by_text(mode).first.click()
            else:
                visit.query.press("ArrowDown")
                visit.page.keyboard.press(str(number))
        expect(visit.said).to_contain_text(f"Nothing was encoded again: {COUNT} hits in {mode} mode")
        expect(visit.mode(mode)).to_be_checked()
        sent, found = visit.asked[-1], answer.value.json()
        assert sent["mode"] == mode and "base" in sent and found["encoded"] is False
        base = base or sent["base"]
        assert sent["base"] == base == found["base"]
        names = [Path(hit["path"]).name for hit in found["data"]]
        expect(visit.hits.locator(".path")).to_contain_text(names)
        orders[mode] = visit.order()
    assert len({tuple(re.sub(r"[▲▼].*|new$", "", name) for name in order) for order in orders.values()}) == 3
    expect(visit.hits.filter(has_text="▲").first).to_be_visible()
    expect(visit.page.get_by_text("Finds code that does what the query says.")).to_be_visible()
    if by == "keys":
        expect(visit.hits.first).to_be_focused()


def test_a_query_that_was_changed_is_not_answered_by_the_old_vector(visit):
    visit.search("rain")
    visit.query.fill("keys")
    visit.mode("symmetric").check()
    expect(visit.said).to_contain_text("hits in symmetric mode")
    assert visit.asked[1]["query"] == {"text": "keys"}


def test_show_keeps_the_vector_and_filters(visit):
    visit.search("a pie chart")
    for name, modality, count in [("pictures", "image", 4), ("code", "code", 2), ("text", "text", 5)]:
        visit.show(name).check()
        expect(visit.hits).to_have_count(count)
        assert visit.asked[-1]["modality"] == modality and "base" in visit.asked[-1]
    visit.show("everything").check()
    expect(visit.hits).to_have_count(COUNT)
    assert "modality" not in visit.asked[-1]


def test_words_too_mixes_the_exact_words_in(visit, folder):
    words = visit.page.get_by_role("checkbox", name="Words too")
    words.check()
    visit.search("QX7")
    expect(visit.hits.first).to_contain_text("disk.md")
    assert "vectors_only" not in visit.asked[0]
    expect(visit.said).to_contain_text("by its meaning and its words")
    visit.mode("code").check()
    expect(visit.said).to_contain_text("in code mode")
    assert visit.asked[1]["query"] == {"text": "QX7"} and "base" in visit.asked[1]  # for the words alone
    expect(visit.said).to_contain_text("Nothing was encoded again")
    words.uncheck()
    expect(visit.said).to_contain_text("Nothing was encoded again")
    assert "base" in visit.asked[2] and visit.asked[2]["vectors_only"] is True

    words.check()
    expect(visit.said).to_contain_text("by its meaning and its words")
    visit.query.fill("")
    visit.hand("drop", folder / "pie.png")
    expect(visit.hits.first).to_contain_text("pie.png")
    expect(words).to_be_disabled()
    assert visit.asked[-1]["vectors_only"] is True


# -- the address ------------------------------------------------------------------------------------------


def test_a_search_is_in_the_address_and_a_reload_or_another_window_shows_the_same(visit, browser, url):
    page = visit.page
    visit.mode("symmetric").check()
    page.get_by_role("checkbox", name="Words too").uncheck()
    visit.show("text").check()
    visit.search("heavy drops & more")
    order, address = visit.order(), page.url
    assert address == f"{url}/?q=heavy+drops+%26+more&mode=symmetric&words=no&show=text"

    def check(there):
        expect(there.said).to_contain_text("5 hits in symmetric mode")
        expect(there.query).to_have_value("heavy drops & more")
        expect(there.show("text")).to_be_checked()
        expect(page.get_by_role("checkbox", name="Words too")).not_to_be_checked()
        assert there.order() == order and there.asked[-1] == visit.asked[-1]

    page.reload()
    check(visit)
    with window(browser, url) as other, visiting(other, mode=None, address=address) as there:
        check(there)


def test_the_back_button_goes_through_the_searches_to_the_empty_page(visit):
    page = visit.page
    expect(page).to_have_url(re.compile("/$"))
    visit.search("rain")
    visit.search("rotate a key")
    visit.mode("code").check()
    expect(visit.said).to_contain_text("in code mode")
    for text, mode in [("rotate a key", "retrieval"), ("rain", "retrieval")]:
        page.go_back()
        expect(visit.query).to_have_value(text)
        expect(visit.mode(mode)).to_be_checked()
        expect(visit.said).to_contain_text(f"in {mode} mode")
    page.go_back()
    expect(visit.hits).to_have_count(0)
    expect(visit.query).to_have_value("")
    expect(page.get_by_text("Search by meaning")).to_be_visible()
    page.go_forward()
    expect(visit.hits.first).to_contain_text("rain.md")


def test_the_history_keeps_pictures_and_a_link_says_that_it_has_none(visit, browser, url, folder):
    page = visit.page
    page.locator("input[type=file]").set_input_files(folder / "pie.png")
    expect(visit.hits.first).to_contain_text("pie.png")
    assert page.url.endswith("/?pictures=1")
    page.reload()
    expect(visit.hits.first).to_contain_text("pie.png")
    visit.query.fill("a map")
    with page.expect_response("**/v1/search"):
        visit.query.press("Enter")
    page.go_back()
    expect(visit.query).to_have_value("")
    expect(visit.hits.first).to_contain_text("pie.png")
    with window(browser, url) as other, visiting(other, mode=None, address=page.url) as there:
        expect(there.said).to_contain_text("also had pictures")
        assert there.asked == []


@pytest.mark.parametrize("address", ["/?mode=x&hits=-3&share=9&show=x&q=rain", "/?q=rain&hits=1000000"])
def test_an_address_that_means_little_is_a_search_all_the_same(browser, url, address):
    with window(browser, url) as page, visiting(page, address=address) as visit:
        expect(visit.said).to_contain_text(f"{COUNT} hits in retrieval mode")


# -- narrower, and more -----------------------------------------------------------------------------------


def test_a_folder_and_languages_narrow_the_search_and_are_counted(visit):
    page = visit.page
    visit.search("rain")
    page.get_by_text("Folder and language").click()
    folders, languages = (page.get_by_role("group", name=name) for name in ("Folder", "Language"))
    expect(languages.get_by_role("checkbox")).to_have_count(3)
    expect(languages).to_contain_text(re.compile("markdown 3.*python 2.*text 2"))
    folders.get_by_role("button", name="weather 1").click()
    expect(visit.hits).to_have_count(1)
    expect(visit.hits.first).to_contain_text("weather/rain.md")
    expect(languages.get_by_role("checkbox")).to_have_count(1)
    expect(folders.get_by_role("button", name="weather/")).to_have_attribute("aria-current", "true")
    assert visit.asked[-1]["paths"][0].endswith("/weather") and "base" in visit.asked[-1]
    page.reload()
    expect(visit.hits).to_have_count(1)
    folders.get_by_role("button", name="all folders").click()
    expect(visit.hits).to_have_count(COUNT)
    for name, count in (("python", 2), ("markdown", 5)):
        languages.get_by_role("checkbox", name=name).check()
        expect(visit.hits).to_have_count(count)
    assert visit.asked[-1]["languages"] == ["python", "markdown"]
    assert page.url.endswith("language=python&language=markdown")
    expect(page.get_by_text("python · markdown")).to_be_visible()
    assert page.evaluate(LOW_CONTRAST) == []


def test_a_language_that_there_is_not_can_be_taken_away(browser, url):
    with window(browser, url) as page, visiting(page, address="/?q=rain&language=klingon") as visit:
        expect(visit.said).to_have_class("bad")
        wrong = page.get_by_role("checkbox", name="klingon 0")
        expect(wrong).to_be_checked()
        refused(visit, 2)  # the search and the counts
        wrong.click()
        expect(visit.hits).to_have_count(COUNT)


def test_more_hits_come_below_those_that_are_there(visit):
    answered(visit.page, hits=45)
    more = visit.page.get_by_role("button", name="More", exact=True)
    expect(more).to_be_hidden()
    visit.search("x")
    expect(visit.hits).to_have_count(20)
    first = visit.hits.first.element_handle()
    more.click()
    expect(visit.hits).to_have_count(40)
    expect(visit.hits.nth(20)).to_be_focused()
    assert first.is_visible() and visit.page.url.endswith("hits=40")
    more.click()
    expect(visit.hits).to_have_count(45)
    expect(more).to_be_hidden()
    assert [one["k"] for one in visit.asked] == [20, 40, 60]


def test_no_more_hits_are_offered_than_the_server_gives(visit):
    answered(visit.page, hits=1000)
    more = visit.page.get_by_role("button", name="More", exact=True)
    visit.search("x")
    for count in (40, 60, 80, 100):
        more.click()
        expect(visit.hits).to_have_count(count)
    expect(more).to_be_hidden()


def test_both_vectors_of_a_query_are_sent_for_another_search(visit):
    answered(visit.page, own="BBBB")
    visit.search("x", "1 hit in")
    visit.page.get_by_role("checkbox", name="Words too").uncheck()
    expect(visit.said).to_contain_text("by its meaning.")
    assert (visit.asked[1]["base"], visit.asked[1]["own"]) == ("AAAA", "BBBB")
    assert "query" not in visit.asked[1]


# -- the files that were found ----------------------------------------------------------------------------


def test_a_path_is_copied_with_its_line(browser, url, folder):
    allowed = ["clipboard-read", "clipboard-write"]
    with window(browser, url, permissions=allowed) as page, visiting(page) as visit:
        visit.search("how do I rotate the keys")
        visit.hits.first.get_by_role("button", name="Copy path").click()
        expect(visit.hits.first.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == f"{folder / 'keys.md'}:1"
        visit.search("a pie chart")
        visit.hits.filter(has_text="pie.png").focus()
        page.keyboard.press("c")
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == str(folder / "pie.png")


@pytest.mark.parametrize("way", ["mouse", "Enter"])
def test_a_file_opens_in_a_window_of_its_own(visit, way):
    visit.search("bold image")
    hit = visit.hits.filter(has_text="<script>")
    with visit.page.expect_popup() as opened:
        if way == "mouse":
            hit.get_by_role("link").click()
        else:
            hit.focus()
            visit.page.keyboard.press("Enter")
    expect(opened.value.locator("pre")).to_have_text(TEXTS[f"{HOSTILE}.txt"].strip())
    assert opened.value.evaluate("document.contentType") == "text/plain" and not opened.value.title()
    opened.value.close()


def test_the_page_of_a_pdf_is_opened(visit):
    answered(visit.page, path="/a/b c.pdf", first_line=7, last_line=7)
    visit.search("x", "1 hit in")
    expect(visit.hits.get_by_role("link")).to_have_attribute("href", "/v1/files?path=%2Fa%2Fb%20c.pdf#page=7")


# -- what the index holds ---------------------------------------------------------------------------------


def test_the_size_of_the_index_is_told_and_that_it_has_changed_since(visit):
    page = visit.page
    expect(page.get_by_text(f"{COUNT} passages")).to_be_visible()
    visit.search("rain")
    about = {"items": 2000, "modalities": {}, "hits": 100}
    page.route("**/v1/status", lambda route: route.fulfill(json=about))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(
        page.get_by_text(f"2,000 passages, +{2000 - COUNT:,} just now, changed since this search")
    ).to_be_visible()
    page.get_by_role("button", name="Search again").click()
    expect(visit.said).to_contain_text("hits in")
    assert len(visit.asked) == 2
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("button", name="Search again")).to_have_count(0)


@pytest.mark.parametrize(
    ("left", "said"),
    [(None, "5 of 2,000 files"), (16.2, "5 of 2,000 files, about 17 s left"), (600.0, "about 10 min left")],
)
def test_what_is_being_indexed_is_told(visit, left, said):
    page = visit.page
    now = {"what": "indexing", "unit": "files", "done": 5, "total": 2000, "rate": 10, "seconds_left": left}
    about = {"items": 2000, "modalities": {}, "hits": 100, "under_way": now}
    page.route("**/v1/status", lambda route: route.fulfill(json=about))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#state")).to_have_text(re.compile(f"2,000 passages, indexing: .*{said}$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_interface_is_described_for_a_person(visit, scheme):
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    page.goto("/docs")
    expect(page.get_by_role("heading", name="POST /v1/search")).to_be_visible()
    page.get_by_role("link", name="SearchRequest", exact=True).click()
    expect(page.locator("#SearchRequest dt").first).to_be_in_viewport()
    assert page.evaluate(LOW_CONTRAST) == []


# -- the keyboard -----------------------------------------------------------------------------------------


def test_arrows_and_slash_move_between_query_and_hits(visit):
    press = visit.page.keyboard.press
    visit.search("2 clouds")
    press("ArrowDown")
    expect(visit.hits.nth(0)).to_be_focused()
    press("ArrowDown")
    expect(visit.hits.nth(1)).to_be_focused()
    press("ArrowUp")
    press("ArrowUp")
    expect(visit.query).to_be_focused()
    press("End")
    press("3")  # in the field a digit is a digit
    expect(visit.query).to_have_value("2 clouds3")
    expect(visit.mode("retrieval")).to_be_checked()
    for _ in range(COUNT + 3):
        press("ArrowDown")
    expect(visit.hits.last).to_be_focused()
    press("/")
    expect(visit.query).to_be_focused()
    press("j")  # all of it was selected, and in the field a letter is a letter
    expect(visit.query).to_have_value("j")
    press("ArrowDown")
    press("j")
    expect(visit.hits.nth(1)).to_be_focused()
    press("k")
    press("k")
    expect(visit.query).to_be_focused()


def test_everything_is_reached_by_tab_and_a_mode_by_arrows(visit):
    press = visit.page.keyboard.press
    visit.search("rain")
    reached = []
    for _ in range(5):
        press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.name || document.activeElement.innerText"))
    assert reached == ["Picture…", "Search", "mode", "words", "kind"]
    press("Tab")
    expect(visit.page.get_by_text("Folder and language")).to_be_focused()
    press("Tab")
    expect(visit.hits.first).to_be_focused()
    visit.mode("retrieval").focus()
    press("ArrowRight")
    expect(visit.mode("symmetric")).to_be_checked()
    expect(visit.said).to_contain_text("in symmetric mode")


def test_a_long_text_unfolds(visit):
    visit.search("rain all day")
    hit = visit.hits.filter(has_text="rain.md")
    text = hit.locator("pre")
    short = text.bounding_box()["height"]
    hit.get_by_role("button", name="Show all").click()
    expect(hit.get_by_role("button", name="Show less")).to_be_visible()
    assert text.bounding_box()["height"] > 2 * short
    hit.focus()
    visit.page.keyboard.press("e")
    expect(hit.get_by_role("button", name="Show all")).to_be_visible()
    assert text.bounding_box()["height"] == short
    expect(visit.hits.filter(has_text="keys.md").get_by_role("button", name="Show all")).to_have_count(0)


# -- when it goes wrong -----------------------------------------------------------------------------------

WRONG = {
    "429": {"status": 429, "json": {"error": {"message": "too much is waiting (items); try again in 2 s"}}},
    "503": {"status": 503, "json": {"error": {"message": "the server is shutting down"}}},
    "a proxy's page": {"status": 502, "content_type": "text/html", "body": "<h1>Bad Gateway</h1>"},
    "no network": None,
}
TOLD = {
    "429": "Too much is waiting (items); try again in 2 s",
    "503": "The server is shutting down",
    "a proxy's page": "The server answered 502.",
    "no network": "The server cannot be reached.",
}


def break_down(page, pattern, what):
    answer = WRONG[what]
    page.route(pattern, lambda route: route.fulfill(**answer) if answer else route.abort("connectionrefused"))


@pytest.mark.parametrize("what", WRONG)
def test_an_error_is_told_and_the_page_recovers(visit, what):
    page = visit.page
    visit.search("rain")
    break_down(page, "**/v1/search", what)
    visit.query.fill("rotate an API key")
    visit.query.press("Enter")
    expect(visit.said).to_contain_text(TOLD[what])
    expect(visit.said).to_contain_text("Below is what was found before.")
    expect(visit.said).to_have_class("bad")
    visit.mode("symmetric").check()
    expect(visit.said).to_contain_text(TOLD[what])
    refused(visit, 2)
    page.unroute("**/v1/search")
    page.get_by_role("button", name="Try again").click()
    expect(visit.hits.first).to_contain_text("keys.md")
    expect(visit.said).to_contain_text("hits in symmetric mode")
    expect(visit.said).not_to_have_class("bad")


def test_a_refusal_that_would_come_again_offers_no_second_try(visit, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(visit.said).to_have_class("bad")
    expect(visit.said.get_by_role("button")).to_have_count(0)
    refused(visit, 1)
    visit.page.get_by_role("button", name="Remove").click()
    visit.search("rain")


@pytest.mark.parametrize("what", ["503", "no network"])
def test_a_page_that_could_not_start_starts_later(visit, what):
    break_down(visit.page, "**/v1/models", what)
    visit.page.reload()
    expect(visit.said).to_contain_text(TOLD[what])
    refused(visit, 1)
    visit.page.unroute("**/v1/models")
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.mode("retrieval")).to_be_checked()
    visit.search("rain")


def test_only_the_last_of_two_queries_is_answered(visit):
    held = []
    visit.page.route("**/v1/search", lambda route: held.append(route), times=1)
    visit.query.fill("rain")
    visit.query.press("Enter")
    expect(visit.said).to_have_text("Searching…")
    with visit.page.expect_event("requestfailed") as first:
        visit.search("keys")
    expect(visit.hits.first).to_contain_text("keys.md")
    assert first.value.post_data_json["query"] == {"text": "rain"} and len(held) == 1


# -- what is searched can be hostile ----------------------------------------------------------------------


def test_html_in_names_and_texts_is_shown_as_text(visit):
    visit.search("bold image")
    hit = visit.hits.filter(has_text="<script>")
    expect(hit.locator(".path")).to_contain_text(HOSTILE)
    expect(hit.locator("pre")).to_have_text(TEXTS[f"{HOSTILE}.txt"].strip())
    assert visit.page.locator("li script, li b b, pre :not(mark), .path img").count() == 0
    expect(visit.page).to_have_title("unbraid search")


def test_a_hostile_answer_is_shown_as_text(visit):
    visit.page.route(
        "**/v1/search", lambda route: route.fulfill(status=400, json={"error": {"message": HOSTILE}})
    )
    visit.query.fill("a")
    visit.query.press("Enter")
    expect(visit.said).to_have_text(HOSTILE)
    refused(visit, 1)


# -- screens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in(visit, scheme):
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert red > 200 if scheme == "light" else red < 50
    assert page.evaluate(LOW_CONTRAST) == []
    page.get_by_role("checkbox", name="Words too").check()
    visit.search("a pie chart")
    visit.mode("code").check()
    expect(visit.said).to_contain_text("in code mode")
    assert page.evaluate(LOW_CONTRAST) == []
    break_down(page, "**/v1/search", "429")
    visit.query.press("Enter")
    expect(visit.said).to_have_class("bad")
    assert page.evaluate(LOW_CONTRAST) == []
    refused(visit, 1)


@pytest.mark.parametrize("width", [320, 400])
def test_a_phone_needs_no_scrolling_sideways(browser, url, folder, width):
    screen = {"width": width, "height": 700}
    with (
        window(browser, url, viewport=screen, has_touch=True, is_mobile=True) as page,
        visiting(page) as visit,
    ):
        page.get_by_role("searchbox").tap()
        visit.search("unbreakable")
        expect(visit.hits).to_have_count(COUNT)
        page.locator("input[type=file]").set_input_files(folder / "pie.png")
        expect(visit.hits.first).to_contain_text("pie.png")
        page.get_by_text("symmetric").first.tap()
        expect(visit.said).to_contain_text("Nothing was encoded again")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.querySelectorAll('main *')].every(one => getComputedStyle(one).left "
                             "=== '-9999px' || one.getBoundingClientRect().right <= innerWidth)")  # fmt: skip
        expect(page.locator("kbd").first).to_be_hidden()  # no keyboard there


# -- how it is served -------------------------------------------------------------------------------------


def test_a_server_with_keys_opens_for_one(browser, serving, engine, index):
    def credentials(key):
        return {"username": "me", "password": key}

    with serving(engine, Settings(keys=ApiKeys([KEY])), index) as http:
        with (
            window(browser, http.url, http_credentials=credentials(KEY)) as page,
            visiting(page) as visit,
        ):
            visit.search("a pie chart")
            picture = page.get_by_role("img", name="pie.png")
            expect(picture).not_to_have_js_property("naturalWidth", 0)
        with window(browser, http.url, http_credentials=credentials("not the key at all")) as page:
            assert page.goto("/").status == 401


def test_without_an_index_the_page_says_how_to_get_one(browser, serving, engine):
    with serving(engine) as http, window(browser, http.url) as page, visiting(page, mode=None) as visit:
        expect(visit.said).to_have_text("No index is served here. Start with: unbraid serve --index DIR")
