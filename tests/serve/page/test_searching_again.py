"""The same query in another mode, with filters, with more hits: nothing is encoded again."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_another_mode_reorders_by_the_vector_that_is_there(visit, by, total):
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
        expect(visit.said).to_contain_text(f"Nothing was encoded again: {total} hits in {mode} mode")
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


def test_show_keeps_the_vector_and_filters(visit, total):
    visit.search("a pie chart")
    for name, modality, count in [("pictures", "image", 4), ("code", "code", 2), ("text", "text", 5)]:
        visit.show(name).check()
        expect(visit.hits).to_have_count(count)
        assert visit.asked[-1]["modality"] == modality and "base" in visit.asked[-1]
    visit.show("everything").check()
    expect(visit.hits).to_have_count(total)
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


def test_a_folder_and_languages_narrow_the_search_and_are_counted(visit, total):
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
    expect(visit.hits).to_have_count(total)
    for name, count in (("python", 2), ("markdown", 5)):
        languages.get_by_role("checkbox", name=name).check()
        expect(visit.hits).to_have_count(count)
    assert visit.asked[-1]["languages"] == ["python", "markdown"]
    assert page.url.endswith("language=python&language=markdown")
    expect(page.get_by_text("python · markdown")).to_be_visible()
    assert visit.low_contrast() == []


def test_a_language_that_there_is_not_can_be_taken_away(browser, url, window, visiting, total):
    with window(browser, url) as page, visiting(page, address="/?q=rain&language=klingon") as visit:
        expect(visit.said).to_have_class("bad")
        wrong = page.get_by_role("checkbox", name="klingon 0")
        expect(wrong).to_be_checked()
        visit.refused(2)  # the search and the counts
        wrong.click()
        expect(visit.hits).to_have_count(total)


def test_more_hits_come_below_those_that_are_there(visit):
    visit.answered(hits=45)
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
    visit.answered(hits=1000)
    more = visit.page.get_by_role("button", name="More", exact=True)
    visit.search("x")
    for count in (40, 60, 80, 100):
        more.click()
        expect(visit.hits).to_have_count(count)
    expect(more).to_be_hidden()


def test_both_vectors_of_a_query_are_sent_for_another_search(visit):
    visit.with_model(multi_vector=False)
    visit.answered(own="BBBB")
    visit.search("x", "1 hit in")
    visit.page.get_by_role("checkbox", name="Words too").uncheck()
    expect(visit.said).to_contain_text("by its meaning.")
    assert (visit.asked[1]["base"], visit.asked[1]["own"]) == ("AAAA", "BBBB")
    assert "query" not in visit.asked[1]


def test_a_bundle_with_a_tier_for_queries_encodes_them_for_each_mode(visit):
    def split(route):
        about = route.fetch().json()
        about["data"][0]["query_tier"] = "another"
        route.fulfill(json=about)

    visit.page.route("**/v1/models", split)
    visit.page.reload()
    visit.answered()
    visit.search("x", "1 hit in")
    with visit.page.expect_response("**/v1/search"):
        visit.page.get_by_text("symmetric").first.click()
    assert visit.asked[-1]["mode"] == "symmetric"
    assert "base" not in visit.asked[-1] and "query" in visit.asked[-1]
