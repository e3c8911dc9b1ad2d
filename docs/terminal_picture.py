"""Makes a picture of what a terminal showed. The one of the demo is recorded at the top of the repository, while the
usual ports are free:

    FORCE_COLOR=1 COLUMNS=84 .venv/bin/tiergate demo --once | .venv/bin/python docs/terminal_picture.py docs/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""A picture in a repository loads nothing from elsewhere."""


def main() -> None:
    """Read the output of a command from standard input, with its colours, and write it as SVG."""
    console = Console(record=True, width=84, file=io.StringIO())
    console.print(Text.from_ansi("$ tiergate demo --once\n" + sys.stdin.read()))
    picture = console.export_svg(title="tiergate")
    Path(sys.argv[1]).write_text(FONTS.sub("", picture).replace("Fira Code", "ui-monospace, Menlo, Consolas"))


if __name__ == "__main__":
    main()
