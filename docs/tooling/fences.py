"""Code in fences on the documentation site: a file's name after the language becomes the title of its block."""

from __future__ import annotations

import re

NAMED = re.compile(r"^( *```\w+) +(?!title=)(\S.*)$", re.MULTILINE)
SHOWN = re.compile(r"<(pre|code)\b.*?</\1>", re.DOTALL)


def titled(markdown: str) -> str:
    """Return a page whose fences have what follows their language as a title, which the site takes for no fence
    otherwise."""

    def title(fence: re.Match[str]) -> str:
        quote = "'" if '"' in fence[2] else '"'
        return f"{fence[1]} title={quote}{fence[2]}{quote}"

    return NAMED.sub(title, markdown)


def has_literal_fence(html: str) -> bool:
    """Return whether a page shows a fence as text, where it should show the code in it."""
    return "```" in SHOWN.sub("", html)
