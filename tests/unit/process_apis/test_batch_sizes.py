"""An ERP that does not cope with a batch gets smaller ones, and larger ones again when it does."""

from __future__ import annotations

from policies.catalogue.live import LiveCatalogue
from process_apis.batch_sizes import BatchSizes


def test_a_batch_is_halved_when_nothing_of_it_went_through_and_doubled_when_something_did() -> None:
    sizes = BatchSizes(LiveCatalogue())
    most = sizes.of("DE01")
    assert most > 1

    seen: list[int] = []
    for through in (False, False, True, True, True, False):
        sizes.went("DE01", through=through)
        seen.append(sizes.of("DE01"))

    assert seen == [most // 2, most // 4, most // 2, most, most, most // 2]


def test_a_batch_is_never_less_than_one() -> None:
    sizes = BatchSizes(LiveCatalogue())
    for _ in range(20):
        sizes.went("DE01", through=False)
    assert sizes.of("DE01") == 1
    sizes.went("DE01", through=True)
    assert sizes.of("DE01") == 1 + 1
