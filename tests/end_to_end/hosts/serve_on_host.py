"""Serves a layer on a host whose clock is wrong, and whose disk is slow as long as a file says so.

Run as `python -P serve_on_host.py LAYER CONFIG`, with the code of the layer in PYTHONPATH, CLOCK_OFFSET in seconds, and
SLOW_DISK, the path of that file.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from datetime import UTC, datetime, timedelta

import canonical.ids

FSYNC_SECONDS = 0.4
"""What a slow disk takes to write what it was given."""


def set_clock(offset: float) -> None:
    """Let this process believe that it is `offset` seconds later."""
    seconds = time.time

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=offset)

    time.time = lambda: seconds() + offset
    canonical.ids.utc_now = now


def slow_down(path: str) -> None:
    write = os.fsync

    def fsync(file: int) -> None:
        if os.path.exists(path):  # noqa: PTH110 - for each write of a layer
            time.sleep(FSYNC_SECONDS)
        write(file)

    os.fsync = fsync


def main() -> None:
    set_clock(float(os.environ["CLOCK_OFFSET"]))
    slow_down(os.environ["SLOW_DISK"])
    layer, config = sys.argv[1:]
    sys.argv = ["tiergate", "serve", layer, "--config", config, "--until-input-ends"]
    runpy.run_module("tiergate", run_name="__main__")


if __name__ == "__main__":
    main()
