"""What the page says when it goes wrong."""

import pytest
from playwright.sync_api import expect

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
    visit.refused(2)
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
    visit.refused(1)
    visit.page.get_by_role("button", name="Remove").click()
    visit.search("rain")


@pytest.mark.parametrize("what", ["503", "no network"])
def test_a_page_that_could_not_start_starts_later(visit, what):
    break_down(visit.page, "**/v1/models", what)
    visit.page.reload()
    expect(visit.said).to_contain_text(TOLD[what])
    visit.refused(1)
    visit.page.unroute("**/v1/models")
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.mode("retrieval")).to_be_checked()
    visit.search("rain")


def test_a_hostile_answer_is_shown_as_text(visit, hostile):
    visit.page.route(
        "**/v1/search", lambda route: route.fulfill(status=400, json={"error": {"message": hostile}})
    )
    visit.query.fill("a")
    visit.query.press("Enter")
    expect(visit.said).to_have_text(hostile)
    visit.refused(1)


def test_without_an_index_the_page_says_how_to_get_one(browser, serving, engine, window, visiting):
    with serving(engine) as http, window(browser, http.url) as page, visiting(page, mode=None) as visit:
        expect(visit.said).to_have_text("No index is served here. Start with: unbraid serve --index DIR")
