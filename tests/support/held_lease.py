"""The lease of a change feed that one test reads alone."""

from __future__ import annotations

from policies.store.leases import KeptLease


class Alone:
    """A lease for which there is nobody else."""

    def renew(self) -> bool:
        return True

    def release(self) -> None:
        """Leave it to nobody."""


async def held_lease() -> KeptLease:
    """Return a lease that is held and never ends."""
    kept = KeptLease(Alone(), lambda: 0.0)
    await kept.renew()
    return kept
