"""Draw docs/search-page.png: the page over this repository's own texts, code and pictures, in Chromium.

python docs/search_page.py          # from the root of the repository; needs unbraid[serve], playwright, Chromium
"""

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

import unbraid
from unbraid.serve import BundleEngine, create_app
from unbraid.serve.routes.index_search import IndexSearch
from unbraid.serve.uvicorn_server import Server

ROOT = Path(__file__).parent.parent
SEARCHED = ("README.md", "docs", "examples", "src/unbraid/index", "src/unbraid/serve")
QUERY = "how much rain falls in each month"


def main() -> None:
    """Index, serve, search, and save what a person sees."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "unbraid"
        for name in SEARCHED:
            _copy(ROOT / name, copy / name)
        (copy / "docs" / "search-page.png").unlink(missing_ok=True)
        model = unbraid.load()
        with unbraid.open_index(Path(place) / "index", model=model) as index:
            index.add(copy)
            server = Server(
                create_app(BundleEngine(model, 1), index=IndexSearch(index)), host="127.0.0.1", port=0
            )
            thread = threading.Thread(target=server.run)
            thread.start()
            while not server.started:
                time.sleep(0.01)
            try:
                draw(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
            finally:
                server.should_exit = True
                thread.join()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def draw(url: str) -> None:
    """Search on the page at `url` and save a picture of it."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        page: Page = browser.new_page(viewport={"width": 1000, "height": 1150}, reduced_motion="reduce")
        page.goto(url)
        page.get_by_role("searchbox").fill(QUERY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("hits in")
        page.get_by_text("Folder and language").click()
        expect(page.get_by_role("group", name="Language").get_by_role("checkbox").first).to_be_visible()
        page.get_by_role("radio", name="symmetric").check()
        expect(page.get_by_role("status")).to_contain_text("Nothing was encoded again")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs" / "search-page.png")
        browser.close()


if __name__ == "__main__":
    main()
