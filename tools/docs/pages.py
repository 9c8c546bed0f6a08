"""The pages of the site: documents of the repository where they lie, and pages made from the package.

MkDocs calls what is named ``on_…`` here. A document keeps its path, so that its links to other documents hold in the
site as they do in the repository; a file that is linked is brought along, a folder that is linked becomes a list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

from breastkit.cli import COMMANDS, PROGRAM

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tools" / "breastkit"
COMMAND_LINE = "reference/command_line.md"
API = "reference/package"
# Sections of the front page that are pages of their own here, by their kind: they begin at a heading of the README.
SECTIONS = {
    "from_data_to_figures.md": "From data to figures, on phantoms",
    "how_it_is_built.md": "How it is built",
    "licences.md": "Licences",
}
# Executed notebooks, which become pages with their pictures.
WALKTHROUGHS = {
    "bundles/breast_mri_tissue_segmentation/docs/walkthrough.ipynb": "Walkthrough: from MRI scans to a table",
    "bundles/breast_us_lesion_classification/docs/walkthrough.ipynb": "Walkthrough: from a picture to a class",
}
_LINK = re.compile(r'(?<=\]\()(?P<markdown>[^()#\s]+)(?=[)#])|(?<=src=")(?P<html>[^"#]+)(?=")')
_CODE = re.compile(r"^(```+).*?^\1\s*$", re.DOTALL | re.MULTILINE)


def cards() -> list[str]:
    """Returns the model cards, by bundle."""
    return [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("bundles/*/docs/README.md"))]


def navigation() -> list[dict[str, Any]]:
    """Returns the table of contents, by kind of page: to learn, to get something done, to look up, to know why."""
    return [
        {"Overview": "README.md"},
        {
            "Tutorials": [
                {"From data to figures": "from_data_to_figures.md"},
                *({title: f"{path.removesuffix('.ipynb')}.md"} for path, title in WALKTHROUGHS.items()),
                {"Reading breast ultrasound": "tools/breastkit/pipelines/README.md"},
            ]
        },
        {
            "How-to guides": [
                {"Get and prepare data sets": "tools/breastkit/datasets/README.md"},
                {"Run a cohort": "tools/docs/cohorts/README.md"},
                {"Exchange with a PACS": "tools/docs/pacs/README.md"},
                {"Correlate with clinical tables": "tools/breastkit/clinical/README.md"},
                {"Annotate in OHIF or 3D Slicer": "apps/breast_monailabel/README.md"},
                {"Put the server on a network": "apps/breast_monailabel/docs/threat_model.md"},
                {"Track runs in MLflow": "mlflow/README.md"},
                {"Contribute": "CONTRIBUTING.md"},
            ]
        },
        {
            "Reference": [
                {"Model cards": cards()},
                {"Command line": COMMAND_LINE},
                {"Package": [{"overview": f"{API}/index.md"}, *(_room_navigation(room) for room in _rooms())]},
                {"DICOM conformance": "tools/docs/conformance/README.md"},
                {"Changelog": "CHANGELOG.md"},
            ]
        },
        {"Explanation": [{"How it is built": "how_it_is_built.md"}, {"Licences": "licences.md"}]},
    ]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sets the table of contents, which names every bundle and module there is."""
    config.nav = navigation()
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the documents, what they link to, and the pages made here."""
    documents = [path for path in _named(config.nav) if (ROOT / path).is_file()]
    for path in documents:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made: dict[str, str | bytes] = {
        path: _section(readme, heading).replace("## ", "# ", 1) for path, heading in SECTIONS.items()
    }
    made |= {COMMAND_LINE: _command_line(), f"{API}/index.md": _package_index()}
    made |= {_api_page(module): _module_page(module) for module in _modules()}
    for path in WALKTHROUGHS:
        made |= _notebook_pages(path)
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    for target in sorted({target for path in documents for target in _linked(path)}):
        if (ROOT / target).is_dir():
            page = f"{target}/index.md"
            outside = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, page, content=_listing(ROOT / target), inclusion=outside))
        linked = sorted((ROOT / target).rglob("*.*")) if (ROOT / target).is_dir() else [ROOT / target]
        for each in linked:
            place = each.relative_to(ROOT).as_posix()
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(each)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leaves out of the front page what has a page of its own; leads links to folders and notebooks to their pages."""
    if page.file.src_uri == "README.md":
        for path, heading in SECTIONS.items():
            markdown = markdown.replace(_section(markdown, heading), f"## {heading}\n\n[{heading}]({path})\n\n")
    here = dirname(page.file.src_uri)

    def to_page(match: re.Match[str]) -> str:
        target = normpath(join(here, match[0]))
        if target in WALKTHROUGHS:
            return f"{match[0].removesuffix('.ipynb')}.md"
        return f"{match[0].rstrip('/')}/index.md" if (ROOT / target).is_dir() else match[0]

    return _LINK.sub(to_page, markdown)


def _named(nav: Any) -> Iterator[str]:
    """Yields every path in a table of contents."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)


def _linked(document: str) -> Iterator[str]:
    """Yields the files and folders of the repository that a document links to and that are no page."""
    for match in _LINK.finditer(_CODE.sub("", (ROOT / document).read_text(encoding="utf-8"))):
        target = normpath(join(dirname(document), match[0]))
        is_page = target.endswith(".md") or target in WALKTHROUGHS
        if not re.match(r"\w+:", match[0]) and not is_page and (ROOT / target).exists():
            yield target


def _section(text: str, heading: str) -> str:
    """Returns a section of the second level, from its heading to the next one; a heading that is gone is an error."""
    start = text.index(f"## {heading}\n")
    end = text.find("\n## ", start)
    return text[start:] if end < 0 else text[start : end + 1]


def _listing(folder: Path) -> str:
    """Returns a page that lists a folder's files."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))]
    return "\n".join([f"# Files in `{folder.relative_to(ROOT).as_posix()}`", "", *(f"- [{x}]({x})" for x in names), ""])


def _notebook_pages(path: str) -> dict[str, str | bytes]:
    """Returns the page of an executed notebook, and its pictures."""
    page = path.removesuffix(".ipynb")
    folder = {"unique_key": "picture", "output_files_dir": f"{page.rpartition('/')[2]}_pictures"}
    text, resources = MarkdownExporter().from_filename(str(ROOT / path), resources=folder)
    pictures = {f"{dirname(path)}/{name}": data for name, data in resources["outputs"].items()}
    return {f"{page}.md": text, **pictures}


def _command_line() -> str:
    """Returns the page of the command line, made from the tree of verbs the program itself uses."""
    lines = ["# Command line", "", "Every verb is a function; its page explains the arguments, as does `--help`.", ""]
    for words, verb in COMMANDS.verbs():
        module, function = verb.target.split(":")
        target = f"{module}.{function}"
        of_package = module.startswith("breastkit.")
        lines += [f"## {PROGRAM} {words}", "", f"{verb.summary[0].upper()}{verb.summary[1:]}.", ""]
        lines += ["```sh", verb.example, "```", ""]
        lines += [f"Arguments: [`{target}`][{target}]" if of_package else f"Arguments: `{PROGRAM} {words} --help`", ""]
    return "\n".join(lines)


def _modules() -> list[str]:
    """Returns the dotted names of the package's modules, rooms among them."""
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.parts != ("breastkit", "__init__")]


def _rooms() -> list[str]:
    """Returns the dotted names of what lies directly in the package."""
    return [name for name in _modules() if name.count(".") == 1]


def _inside(room: str) -> list[str]:
    return [name for name in _modules() if name.startswith(f"{room}.")]


def _room_navigation(room: str) -> dict[str, Any]:
    name = room.removeprefix("breastkit.")
    inside = [{each.removeprefix(f"{room}."): _api_page(each)} for each in _inside(room)]
    return {name: [{"overview": _api_page(room)}, *inside] if inside else _api_page(room)}


def _api_page(module: str) -> str:
    path = module.replace(".", "/").replace("breastkit", API, 1)
    return f"{path}/index.md" if _inside(module) else f"{path}.md"


def _module_page(module: str) -> str:
    """Returns a module's page: what its docstrings say, and for a room what is in it."""
    options = "    options:\n      members: false\n" if _inside(module) else ""
    here = dirname(_api_page(module))
    inside = [(each, _api_page(each).removeprefix(f"{here}/")) for each in _inside(module)]
    rows = [f"| [`{each.removeprefix(module + '.')}`]({page}) | {_first_line(each)} |" for each, page in inside]
    table = ["", "| module | what it holds |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"# {module}", "", f"::: {module}", options, *table])


def _package_index() -> str:
    """Returns the page of the package: its rooms in a table, each by the first line of its docstring."""
    pages = [(room, _api_page(room).removeprefix(f"{API}/")) for room in _rooms()]
    rows = [f"| [`{room.removeprefix('breastkit.')}`]({page}) | {_first_line(room)} |" for room, page in pages]
    return "\n".join(["# The package", "", "| room | what it is for |", "|---|---|", *rows, ""])


def _first_line(module: str) -> str:
    path = PACKAGE.parent / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
