"""What the documentation site has beside `docs/`: the pages at the top of the repository, and its scripts.

A hook of MkDocs. Pages are written for a reader of the repository; here their links are turned into those of the site,
and a link to a file that the site has not becomes its text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from fences import has_literal_fence, titled
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
TOP = {"README.md": "index.md"} | {
    name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "RELEASING.md")
}
MODULES = ROOT / "docs/tooling/node_modules"
SHIM, SHIM_HERE = "https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js"
"""What lets the search work in pages that are opened from disk: where the theme gets it, and where it is here."""
SCRIPTS = {
    "assets/mermaid.tiny.js": MODULES / "@mermaid-js/tiny/dist/mermaid.tiny.js",
    SHIM_HERE: MODULES / "iframe-worker/shim/index.js",
}
TARGET = re.compile(r"(?<=\]\()([^)\s#:]+)")
LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s#:]+)[^)\s:]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that are not in `docs/`."""
    for top, page in TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / top)))
    for script, source in SCRIPTS.items():
        files.append(File.generated(config, script, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Return the text of a page with links that hold on the site, and titles of its code."""
    here = page.file.src_uri
    names = {page: source for source, page in TOP.items()}
    folder = PurePosixPath(names.get(here, f"docs/{here}")).parent

    def on_site(target: str) -> str | None:
        path = normpath(folder / target)
        if (ROOT / path / "README.md").is_file():
            path += "/README.md"
        found = TOP.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        return relpath(found, PurePosixPath(here).parent) if files.get_file_from_path(found) else None

    def drop(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        return text if on_site(target) is None and (ROOT / folder / target).exists() else link[0]

    return TARGET.sub(lambda target: on_site(target[1]) or target[1], LINK.sub(drop, titled(markdown)))


def on_page_content(html: str, page: Page, **_: object) -> None:
    """Raise `PluginError` for a page that shows a fence as text."""
    if has_literal_fence(html):
        raise PluginError(
            f"{page.file.src_uri}: a fence of code is shown as text: write ```language, or ```language FILE"
        )


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Return a page that fetches nothing from another host."""
    return output.replace(SHIM, relpath(SHIM_HERE, PurePosixPath(page.file.dest_uri).parent))


def on_post_template(output_content: str, **_: object) -> str:
    """Return a page that can be shown at any address, which fetches nothing from another host."""
    return output_content.replace(SHIM, f"/{SHIM_HERE}")
