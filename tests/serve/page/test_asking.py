"""Asking: words, pictures, and both."""

import re

import pytest
from playwright.sync_api import expect

from unbraid.mix import shared_weights


def test_typing_and_enter_gives_hits_with_snippets_and_scores(visit, total):
    expect(visit.query).to_be_focused()
    expect(visit.page.get_by_text("Search by meaning")).to_be_visible()
    visit.search("how do I rotate the keys")
    expect(visit.hits).to_have_count(total)
    expect(visit.hits.first).to_contain_text(re.compile(r"^1\d\.\d{3}.*/keys\.md:\d.*text"))
    expect(visit.hits.first).to_contain_text("write the new one into the file")
    expect(visit.said).to_have_text(
        re.compile(
            rf"^{total} hits in retrieval mode, \d+ ms\. A score is the probability that a hit is relevant, by its meaning and its words\.$"
        )
    )
    scores = [float(score.split()[1]) for score in visit.hits.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    expect(visit.page.get_by_text("Search by meaning")).to_be_hidden()


def test_the_button_searches_and_nothing_typed_is_told(visit, total):
    button = visit.page.get_by_role("button", name="Search", exact=True)
    button.click()
    expect(visit.said).to_have_text("Type something, or drop a picture.")
    visit.query.fill("a map")
    button.click()
    expect(visit.hits).to_have_count(total)
    assert len(visit.asked) == 1


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
