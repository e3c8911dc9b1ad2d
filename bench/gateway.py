"""One of our layers for the bench: the gate and the pass-through as they are shipped, in front of an upstream.

Takes a plan as JSON: layer, port, next (a URL), last (whether that is no layer of ours), folder, catalogue, redis_url.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from litestar import get

from canonical.ids import utc_now
from policies.catalogue.model import Layer
from policies.chain.gate import governed
from policies.chain.passthrough import Passthrough, PassthroughRoute
from policies.identity.authentication import Principal
from policies.identity.issuer import Issuer
from policies.outbound.layer_client import AsyncLayerClient, LayerResponse, token_for
from tiergate import composition
from tiergate.server.logs import log_as_json
from tiergate.server.server import run
from tiergate.settings import Governance, Server, Settings
from tiergate.shared import SharedState

NAMES: dict[Layer, str] = {"experience": "sales", "process": "process", "system": "crm"}
OPERATIONS: dict[Layer, str] = {"experience": "sales_get_order", "process": "get_order", "system": "get_deal"}
CALLERS: dict[Layer, str] = {"experience": "experience-layer", "process": "process-layer"}
ORDER = re.compile(r"ord_[0-9a-f]{32}")


class Bench:
    """Hold what the plan of one process asks for."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.layer: Layer = plan["layer"]
        folder = Path(plan["folder"])
        governance = Governance(catalogue=plan["catalogue"], redis_url=plan["redis_url"])
        self.settings = Settings(folder=str(folder), governance=governance)
        self.live_catalogue = composition.open_catalogue(self.settings)
        self.gate = composition.gate(self.layer, self.settings, self.live_catalogue, SharedState(self.settings))
        self.next = AsyncLayerClient(plan["next"], "next", 10)
        self.issuer = Issuer(self.gate.keys, utc_now)

    async def to_layer(self, principal: Principal, path: str) -> LayerResponse:
        """Fetch from the next layer, as the experience layer does from the process layer."""
        name = CALLERS[self.layer]
        scopes = frozenset({"crm:read"}) if self.layer == "process" else None
        token = token_for(principal, self.issuer, name, self.live_catalogue.current.clients[name], scopes)
        return await self.next.forward("GET", path, token)

    async def to_platform(self, _: Principal, path: str) -> LayerResponse:
        return await self.next.forward("GET", path, "")


def main() -> None:
    plan: dict[str, Any] = json.loads(sys.argv[1])
    log_as_json()
    bench = Bench(plan)
    last: bool = plan["last"]
    prefix = f"/{NAMES[bench.layer]}/v1/{'deals' if bench.layer == 'system' else 'orders'}/"
    following = {"experience": "/process/v1/orders/", "process": "/crm/v1/deals/"}.get(bench.layer, "")
    passed_on = PassthroughRoute(OPERATIONS[bench.layer], "v1", "/order.json/" if last else following, {}, ORDER)
    fetch = bench.to_platform if last else bench.to_layer

    @get(prefix + "{order_id:str}", operation_id=OPERATIONS[bench.layer], sync_to_thread=False)
    def behind(order_id: str) -> str:
        return order_id

    app = governed(bench.gate, [behind], readiness=dict, provided={})
    run(Passthrough(app, bench.gate, {prefix: passed_on}, fetch), plan["port"], Server())


if __name__ == "__main__":
    main()
