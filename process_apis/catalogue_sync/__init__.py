"""Catalogue syncs: products and list prices go from the CRM, which owns them, to the ERP and to billing.

`owners` says who owns what is sold, and who has copies. `plan` works out what is to be done, `workflow` reads page by
page and does item by item, `runs` takes syncs and acts on their cases, `routes` are what others call.
"""

from __future__ import annotations

from process_apis.catalogue_sync.routes import routes
from process_apis.catalogue_sync.runs import CatalogueSyncRuns
from process_apis.catalogue_sync.workflow import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what catalogue syncs bring."""
    runs = CatalogueSyncRuns(context, engine)
    return Capability(
        "catalogue_sync",
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        cases=CaseOwner(KINDS, runs.act, allowed=runs.allowed),
        routes=routes(runs),
    )
