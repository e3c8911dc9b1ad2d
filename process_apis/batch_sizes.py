"""How many postings are sent to an ERP together: as many as the catalogue says, and fewer when it does not cope."""

from __future__ import annotations

from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import DEFAULT

OPERATION = "put_erp_invoices"


class BatchSizes:
    """The size of the next batch for each ERP.

    It is halved when nothing of a batch went through, so that an ERP that is too slow for it, or breaks over one record
    of it, comes to an end of a smaller one. It is doubled again with each that did.
    """

    def __init__(self, live_catalogue: LiveCatalogue) -> None:
        self._live_catalogue = live_catalogue
        self._now: dict[str, int] = {}

    def of(self, legal_entity: str) -> int:
        """Return how many invoices of a legal entity are posted together."""
        instance, most = self._most(legal_entity)
        return min(most, self._now.get(instance, most))

    def went(self, legal_entity: str, *, through: bool) -> None:
        """Take note of a batch of which something went through, or nothing."""
        instance, most = self._most(legal_entity)
        now = self.of(legal_entity)
        self._now[instance] = min(now * 2, most) if through else max(now // 2, 1)

    def _most(self, legal_entity: str) -> tuple[str, int]:
        catalogue = self._live_catalogue.current
        instance = catalogue.instance_for("erp", legal_entity)
        if instance is None:
            return "", 1
        calls = catalogue.platforms[instance].calls
        return instance, (calls.get(OPERATION) or calls[DEFAULT]).batch
