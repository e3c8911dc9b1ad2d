"""Reversals: which change of a contract is taken back, and whether that can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from canonical.amendments import ActionRefused, AmendmentRequest, Reverse, changed_lines, reversed_lines
from canonical.deals import PricedLine
from process_apis.amendments.contract import RunningContract
from process_apis.records.amendments import Applied

FIELD = "actions[0].amendment"


def reversal_in(wanted: AmendmentRequest) -> Reverse | None:
    """Return the action of a request that takes a change back, None for any other request."""
    return next((each for each in wanted.actions[:1] if isinstance(each, Reverse) and len(wanted.actions) == 1), None)


def is_to_come(found: RunningContract, wanted: AmendmentRequest) -> bool:
    """Return whether a request takes back what is carried out and does not count yet, as the end of the contract with
    the period that runs: it never counts then."""
    action = reversal_in(wanted)
    return any(
        action is not None and each.id == action.amendment and not each.is_future and each.since > found.read_at
        for each in found.versions
    )


def after_reversal(found: RunningContract, action: Reverse) -> tuple[PricedLine, ...]:
    """Return the lines of a contract without a change. Raises `ActionRefused` for one that cannot be taken back: it is
    not one of the contract's that was carried out, or another change has come after it for the same lines."""
    places = [place for place, each in enumerate(found.versions) if each.id == action.amendment]
    if not places:
        raise ActionRefused(FIELD, f"{action.amendment} is no change of this contract that was carried out")
    undone, later = found.versions[places[0]], found.versions[places[0] + 1 :]
    if undone.is_future:
        raise ActionRefused(FIELD, f"{undone.id} is not carried out yet: withdraw it")
    if undone.preview.is_renewal:
        raise ActionRefused(FIELD, f"{undone.id} has renewed the contract: change what it has agreed, `term` the end")
    if undone.preview.is_term:
        raise ActionRefused(FIELD, f"{undone.id} has changed the end alone: agree to the former one with `term`")
    if undone.preview.is_resumption:
        raise ActionRefused(FIELD, f"{undone.id} has taken the contract up again: pause it")
    if undone.preview.transfer and undone.since <= found.read_at:
        former = undone.preview.transfer.former_id
        raise ActionRefused(FIELD, f"{undone.id} has transferred the contract: transfer it back, to {former}")
    if undone.preview.is_pause and undone.since <= found.read_at:
        raise ActionRefused(FIELD, f"{undone.id} has paused the contract since {undone.since}: resume it")
    _check_untouched(undone, later)
    _check_one_end(undone)
    after = reversed_lines(found.contract.lines, undone.preview.before, undone.preview.after)
    _check_one_by_use(undone, found.contract.lines, after)
    return after


def _check_untouched(undone: Applied, later: Iterable[Applied]) -> None:
    touched = undone.touched()
    for each in later:
        if same := [line.name for key, line in each.touched().items() if key in touched]:
            what = "withdraw that one first" if each.is_future else "reverse that one first"
            if not each.is_future and (each.preview.is_renewal or each.preview.transfer):
                how = "renewed" if each.preview.is_renewal else "transferred"
                what = f"that has {how} the contract, so change what is to be different"
            raise ActionRefused(FIELD, f"{same[0]} was changed again with {each.id}: {what}")


def _check_one_end(undone: Applied) -> None:
    """Raise `ActionRefused` for lines of several intervals that end with their periods: the first may be over."""
    pairs = changed_lines(undone.preview.before, undone.preview.after)
    intervals = {was.interval for was, now in pairs if was and now is None}
    if len(intervals) > 1:
        reason = f"{undone.id} has ended lines of several intervals, each with a period of its own: add them again"
        raise ActionRefused(FIELD, reason)


def _check_one_by_use(undone: Applied, before: Sequence[PricedLine], after: Sequence[PricedLine]) -> None:
    """Raise `ActionRefused` for a line that comes back beside another one of its product, of which either is charged by
    use: what is measured is of one line."""
    skus = {each.id: each.sku for each in before}
    for line in (each for each in after if skus.get(each.id) != each.sku):
        same = [each for each in after if each.sku == line.sku]
        if len(same) > 1 and any(each.meter for each in same):
            reason = f"{line.sku} is charged by use, and the contract has a line of it already: remove that one first"
            raise ActionRefused(FIELD, f"{undone.id} cannot be taken back: {reason}")
