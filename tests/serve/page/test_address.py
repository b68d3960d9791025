"""The address of a search, and the browser's history."""

import re

import pytest
from playwright.sync_api import expect


def test_a_search_is_in_the_address_and_a_reload_or_another_window_shows_the_same(
    visit, browser, url, window, visiting
):
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


def test_the_history_keeps_pictures_and_a_link_says_that_it_has_none(
    visit, browser, url, folder, window, visiting
):
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
def test_an_address_that_means_little_is_a_search_all_the_same(
    browser, url, address, window, visiting, total
):
    with window(browser, url) as page, visiting(page, address=address) as visit:
        expect(visit.said).to_contain_text(f"{total} hits in retrieval mode")
