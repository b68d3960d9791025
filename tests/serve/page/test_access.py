"""Keys, screens, contrast and the keyboard: everybody gets at it, and only who may."""

import re

import pytest
from playwright.sync_api import expect

from unbraid.serve import ApiKeys, Settings

KEY = "key-of-one-client"


def test_a_server_with_keys_opens_for_one(browser, serving, engine, index, window, visiting):
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in(visit, scheme):
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert red > 200 if scheme == "light" else red < 50
    assert visit.low_contrast() == []
    page.get_by_role("checkbox", name="Words too").check()
    visit.search("a pie chart")
    visit.mode("code").check()
    expect(visit.said).to_contain_text("in code mode")
    assert visit.low_contrast() == []
    visit.page.route("**/v1/search", lambda route: route.fulfill(status=429))
    visit.query.press("Enter")
    expect(visit.said).to_have_class("bad")
    assert visit.low_contrast() == []
    visit.refused(1)


@pytest.mark.parametrize("width", [320, 400])
def test_a_phone_needs_no_scrolling_sideways(browser, url, folder, width, window, visiting, total):
    screen = {"width": width, "height": 700}
    with (
        window(browser, url, viewport=screen, has_touch=True, is_mobile=True) as page,
        visiting(page) as visit,
    ):
        page.get_by_role("searchbox").tap()
        visit.search("unbreakable")
        expect(visit.hits).to_have_count(total)
        page.locator("input[type=file]").set_input_files(folder / "pie.png")
        expect(visit.hits.first).to_contain_text("pie.png")
        page.get_by_text("symmetric").first.tap()
        expect(visit.said).to_contain_text("Nothing was encoded again")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.querySelectorAll('main *')].every(one => getComputedStyle(one).left "
                             "=== '-9999px' || one.getBoundingClientRect().right <= innerWidth)")  # fmt: skip
        expect(page.locator("kbd").first).to_be_hidden()  # no keyboard there


def test_arrows_and_slash_move_between_query_and_hits(visit, total):
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
    for _ in range(total + 3):
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
    for _ in range(6):
        press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.name || document.activeElement.innerText"))
    assert reached == ["Picture…", "Search", "mode", "words", "why", "kind"]
    press("Tab")
    expect(visit.page.get_by_text("Folder and language")).to_be_focused()
    press("Tab")
    expect(visit.hits.first).to_be_focused()
    visit.mode("retrieval").focus()
    press("ArrowRight")
    expect(visit.mode("symmetric")).to_be_checked()
    expect(visit.said).to_contain_text("in symmetric mode")


def test_the_size_of_the_index_is_told_and_that_it_has_changed_since(visit, total):
    page = visit.page
    expect(page.get_by_text(f"{total} passages")).to_be_visible()
    visit.search("rain")
    about = {"items": 2000, "modalities": {}, "hits": 100}
    page.route("**/v1/status", lambda route: route.fulfill(json=about))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(
        page.get_by_text(f"2,000 passages, +{2000 - total:,} just now, changed since this search")
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
    assert visit.low_contrast() == []
