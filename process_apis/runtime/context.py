"""What every capability works with: the platforms, the records, a clock, a source of ids."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from canonical.ids import Clock, NewId
from policies.catalogue.live import Living
from policies.outbound.residency import Residency
from process_apis.records.cases import Cases
from process_apis.records.orders import Orders
from process_apis.records.postings import Postings
from process_apis.system_client import Platforms


class Patience(msgspec.Struct, frozen=True):
    """How long is waited, in seconds. `tries` at once (each of which the system layer repeats as the catalogue
    says), then the work is put aside for `pause`, doubled up to `longest`."""

    tries: int = 2
    first: float = 0.2
    pause: float = 5.0
    longest: float = 300.0
    overlooked: float = 60.0
    """After so long without news, somebody looks whether the work was lost."""
    delivery: float = 3600.0
    """After so long without a report, the target is asked again and people are told."""


class Desk(msgspec.Struct, frozen=True):
    """Handed to every capability at the start."""

    database: sa.Engine
    platforms: Platforms
    orders: Orders
    postings: Postings
    cases: Cases
    clock: Clock
    new_id: NewId
    residency: Residency
    living: Living
    patience: Patience = Patience()

    def later(self, seconds: float) -> datetime:
        return self.clock() + timedelta(seconds=seconds)

    def overlooked(self) -> datetime:
        """When to look whether what is begun now was lost."""
        return self.later(self.patience.overlooked)

    def pause(self, attempt: int) -> datetime:
        """When to look again after the `attempt`th failure."""
        return self.later(min(self.patience.pause * 2 ** min(attempt - 1, 16), self.patience.longest))
