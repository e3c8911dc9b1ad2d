"""Connects the platforms of a settings file as the system layer does, and asks a new target's routes in this process.

Run as `python -m tests.unit.extending.ask_routes SETTINGS`, in a tree that has the connector. Prints what it was
answered, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from litestar.testing import TestClient

from tiergate.composition import issuer, open_catalogue, system_app
from tiergate.platforms import load_platforms
from tiergate.settings import load

ORDER: dict[str, Any] = {"order_id": "ord_1", "lines": [], "attempt": 1, "legal_entity": "DE01"}


def main(path: Path) -> None:
    settings = load(path, os.environ)
    live_catalogue = open_catalogue(settings)
    platforms = load_platforms(settings, live_catalogue.current, os.environ)
    with TestClient(system_app(settings, platforms)) as client:
        clients = live_catalogue.current.clients
        # A token from before the first start of a layer is refused.
        headers = {"authorization": f"Bearer {issuer(settings).token('process-layer', clients['process-layer'])}"}
        put = client.put("/provisioning/v1/orders/ord_1", json=ORDER, headers=headers)
        removed = client.delete("/provisioning/v1/orders/ord_1?legal_entity=DE01", headers=headers)
        webhook = client.post("/provisioning/v1/webhooks?instance=toy", content=b"{}")
        ready = client.get("/health/ready", headers=headers)
    answers = {"put": put.status_code, "removed": removed.json(), "webhook": webhook.status_code, "ready": ready.text}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
