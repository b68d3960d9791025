"""A hit: its text, its picture, the words that were found, its file."""

import pytest
from PIL import Image
from playwright.sync_api import expect


def test_a_picture_that_was_found_is_shown(visit, folder):
    with Image.open(folder / "pie.png") as drawn:
        width = drawn.width
    visit.search("a pie chart")
    picture = visit.page.get_by_role("img", name="pie.png")
    expect(picture).to_have_js_property("naturalWidth", width)
    expect(visit.hits.filter(has=picture)).to_contain_text("picture")


def test_a_picture_that_is_gone_says_so(browser, url, folder, window, visiting):
    path = folder / "map.png"
    path.rename(folder / "moved.png")
    try:  # in a window of its own: the other may have kept the picture
        with window(browser, url) as page, visiting(page) as visit:
            visit.search("a map")
            hit = visit.hits.filter(has_text="map.png")
            expect(hit).to_contain_text("changed or moved since it was indexed")
            visit.refused(1)
    finally:
        (folder / "moved.png").rename(path)


def test_the_words_of_a_query_are_marked(visit):
    visit.search("how to rotate a key")
    marks = visit.hits.filter(has_text="keys.md").locator("mark").all_inner_texts()
    assert {"Rotating", "keys", "rotate", "key"} == set(marks)
    visit.page.get_by_role("checkbox", name="Words too").uncheck()
    expect(visit.said).to_contain_text("by its meaning.")
    expect(visit.hits.locator("mark")).to_have_count(0)


def test_marks_count_characters_and_what_is_marked_is_text(visit, hostile):
    snippet = f"\N{PILE OF POO}\N{FAMILY} {hostile} end"
    visit.answered(snippet=snippet, marks=[[3, 3 + len(hostile)]])
    visit.query.fill("x")
    visit.query.press("Enter")
    expect(visit.hits.locator("mark")).to_have_text(hostile)
    assert visit.hits.locator("pre").inner_text() == snippet
    assert visit.page.title() == "unbraid search"


def test_the_lines_of_a_picture_that_hold_the_words_are_outlined_and_listed(visit, folder):
    about = {"path": str(folder / "pie.png"), "modality": "image", "first_line": None, "last_line": None}
    boxes = [[0.1, 0.0, 0.9, 0.1], [0.25, 0.5, 0.75, 0.6], [0, 0.9, 1, 1]]
    about |= {"snippet": "Rain\nof the year\nin mm", "boxes": boxes, "marks": [[12, 16]]}
    visit.answered(**about, picture=f"/v1/pictures?path={folder / 'pie.png'}")
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


def test_a_path_is_copied_with_its_line(browser, url, folder, window, visiting):
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
def test_a_file_opens_in_a_window_of_its_own(visit, way, hostile_text):
    visit.search("bold image")
    hit = visit.hits.filter(has_text="<script>")
    with visit.page.expect_popup() as opened:
        if way == "mouse":
            hit.get_by_role("link").click()
        else:
            hit.focus()
            visit.page.keyboard.press("Enter")
    expect(opened.value.locator("pre")).to_have_text(hostile_text)
    assert opened.value.evaluate("document.contentType") == "text/plain" and not opened.value.title()
    opened.value.close()


def test_the_page_of_a_pdf_is_opened(visit):
    visit.answered(path="/a/b c.pdf", first_line=7, last_line=7)
    visit.search("x", "1 hit in")
    expect(visit.hits.get_by_role("link")).to_have_attribute("href", "/v1/files?path=%2Fa%2Fb%20c.pdf#page=7")


def test_html_in_names_and_texts_is_shown_as_text(visit, hostile, hostile_text):
    visit.search("bold image")
    hit = visit.hits.filter(has_text="<script>")
    expect(hit.locator(".path")).to_contain_text(hostile)
    expect(hit.locator("pre")).to_have_text(hostile_text)
    assert visit.page.locator("li script, li b b, pre :not(mark), .path img").count() == 0
    expect(visit.page).to_have_title("unbraid search")


def test_why_a_hit_was_found_is_shown_where_the_model_has_vectors_of_words(visit, hostile):
    why = visit.page.get_by_role("checkbox", name="Why")
    visit.with_model(multi_vector=False)
    expect(why).to_have_count(0)
    visit.with_model(multi_vector=True)
    visit.answered(why=[{"query": "cost", "passage": hostile, "cosine": 0.834}])
    why.check()
    visit.search("cost", "1 hit in")
    expect(visit.hits.locator(".why")).to_have_text(f"Why: cost ← {hostile} 0.83")
    assert visit.asked[-1]["explain"] is True and visit.page.url.endswith("why=yes")
    visit.page.get_by_role("checkbox", name="Words too").uncheck()
    expect(visit.said).to_contain_text("by its meaning.")
    assert "base" in visit.asked[-1] and visit.asked[-1]["query"] == {"text": "cost"}
