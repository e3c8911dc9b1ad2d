"""The durable engine alone: workflows of no-op steps, one after the other. Prints its CPU for one workflow as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
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
    """Read {"workflows", "steps", "pause"} from standard input, run them, print {"cpu_ms"}.

    `pause` is in seconds, after each workflow; what the engine does meanwhile is counted, as it is for an order.
    """
    plan = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'engine.sqlite'}"
        DBOS(config={"name": "bench", "system_database_url": url, "application_version": "1", "log_level": "WARNING"})
        DBOS.launch()
        workflow(plan["steps"])
        began = time.process_time()
        for _ in range(plan["workflows"]):
            workflow(plan["steps"])
            time.sleep(plan["pause"])
        used = time.process_time() - began
        DBOS.destroy()
    print(json.dumps({"cpu_ms": round(1000 * used / plan["workflows"], 1)}))


if __name__ == "__main__":
    main()
