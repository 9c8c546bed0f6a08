"""The site that `make docs` makes: it builds without a warning, no link in it is broken, and it fetches nothing."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.server.ohif_page import chromium
from tools.docs.walkthroughs import walkthroughs

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mlflow/README.md", "apps/breast_monailabel/README.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "bundles").glob("*/docs/README.md"))),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tools").rglob("README.md"))),
]
# What a browser fetches by itself; a plain <a> it follows only when told to.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Links(HTMLParser):
    """What a page can be entered at, what it links to, and what it fetches."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.linked, self.fetched = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.linked.append(values["href"])
        if values.get(FETCHED.get(tag)):
            self.fetched.append(values[FETCHED[tag]])


def is_elsewhere(target):
    return bool(urlsplit(target).scheme or urlsplit(target).netloc)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = re.search(r"^docs: .*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    command = command.replace("$(PY)", sys.executable).replace("$(abspath work/site)", str(folder))
    words = ["env", *command.split()]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_document_is_a_page_and_every_module_has_one(site):
    for document in DOCUMENTS:
        assert (site / document.replace("README.md", "index.md")).with_suffix(".html").is_file(), document
    package = ROOT / "tools" / "breastkit"
    modules = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.parent != package]
    for module in modules:
        page = module.replace("__init__.py", "index.html").replace(".py", ".html")
        assert (site / "reference" / "package" / page).is_file(), module


def test_walkthroughs_are_pages_with_their_pictures(site, pages):
    for notebook in walkthroughs():
        page = (site / notebook.relative_to(ROOT)).with_suffix(".html")
        shown = [path for path in pages[page].fetched if "walkthrough_pictures/" in path]
        assert len(shown) == notebook.read_text(encoding="utf-8").count('"image/') > 6
        assert all((page.parent / path).is_file() for path in shown)
        # The cards lead there, not to the notebook's file.
        assert "walkthrough.html" in pages[page.with_name("index.html")].linked


def test_it_is_arranged_by_kind(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    tabs = re.findall(r'class="md-tabs__link"[^>]*>\s*([^<]+?)\s*<', front)
    assert tabs == ["Overview", "Tutorials", "How-to guides", "Reference", "Explanation"]


def test_no_link_is_broken(site, pages):
    broken = []
    for path, links in pages.items():
        # The page shown for an address that does not exist links from the server's root.
        for target in links.linked + links.fetched if path.name != "404.html" else ():
            if is_elsewhere(target):
                continue
            parts = urlsplit(target)
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = pages.get(file)
            if not file.is_file() or (parts.fragment and found and unquote(parts.fragment) not in found.anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken


def test_nothing_is_fetched_from_elsewhere(site, pages):
    for path, links in pages.items():
        assert [target for target in links.fetched if is_elsewhere(target) and target[:5] != "data:"] == [], path
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import\s+|url\(\s*)['\"]?(?:https?:)?//", text), style


def test_documents_link_to_what_there_is(pages):
    """What the site checks of links between documents holds on a forge as well, anchors included."""
    missing = []
    for document in DOCUMENTS:
        text = re.sub(r"^(```+).*?^\1\s*$", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
        for target in re.findall(r"\]\(([^()\s]+)\)", text):
            path, _, anchor = target.partition("#")
            file = (ROOT / document).parent / path if path else ROOT / document
            if not is_elsewhere(target) and not (file.exists() and (not anchor or anchor in slugs(file))):
                missing.append(f"{document}: {target}")
    assert not missing


def slugs(document):
    """The anchors that a forge gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_it_is_searched_when_opened_from_a_folder(site):
    """A browser without any network finds a page by a word, and asks for nothing outside the folder."""
    with chromium() as browser:
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("near-duplicates", delay=20)
        page.locator(".md-search-result__item a", has_text="breastkit.datasets.duplicates").first.wait_for()
        assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
