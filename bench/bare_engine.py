"""The durable engine alone: workflows of no-op steps, as many as it is told, when it is told."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

from dbos import DBOS


@DBOS.step()
def nothing(number: int) -> str:
    return f"done {number}"


@DBOS.workflow()
def workflow(steps: int) -> str:
    for number in range(steps):
        nothing(number)
    return "done"


def main() -> None:
    """Read the number of steps, say that it is ready, then read how many workflows to run now, a line each time. At the
    end of the input, print {"cpu_ms"} for a workflow: all CPU since the first of these lines, that of waiting included.
    """
    steps = int(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'engine.sqlite'}"
        DBOS(config={"name": "bench", "system_database_url": url, "application_version": "1", "log_level": "WARNING"})
        DBOS.launch()
        workflow(steps)
        print("ready", flush=True)
        first, done = sys.stdin.readline(), 0
        began = time.process_time()
        for line in chain([first], sys.stdin):
            for _ in range(int(line)):
                workflow(steps)
                done += 1
        used = time.process_time() - began
        DBOS.destroy()
    print(json.dumps({"cpu_ms": round(1000 * used / done, 1)}))


if __name__ == "__main__":
    main()
