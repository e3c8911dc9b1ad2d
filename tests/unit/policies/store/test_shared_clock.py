"""A clock that is the database's, by this machine's own seconds in between."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from policies.store.documents import StoreAway
from policies.store.shared_clock import SharedClock
from tests.support.governed_app import NOW


class Machine:
    """A machine whose seconds pass, and a database whose time is another one's."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.database = NOW
        self.is_away = False
        self.takes = 0.0

    def ask(self) -> datetime:
        if self.is_away:
            raise StoreAway("the shared database does not answer")
        self.seconds += self.takes
        return self.database


def test_the_clock_goes_on_from_the_databases_time() -> None:
    machine = Machine()
    clock = SharedClock(machine.ask, lambda: machine.seconds)

    machine.seconds += 90

    assert clock() == NOW + timedelta(seconds=90)


def test_half_of_what_an_answer_takes_is_its_age() -> None:
    machine = Machine()
    machine.takes = 3.0

    clock = SharedClock(machine.ask, lambda: machine.seconds)

    assert clock() == NOW + timedelta(seconds=1.5)


def test_a_clock_that_cannot_be_compared_goes_on_and_is_corrected_later() -> None:
    machine = Machine()
    clock = SharedClock(machine.ask, lambda: machine.seconds)
    machine.seconds += 60
    machine.is_away = True
    with pytest.raises(StoreAway):
        clock.compare()
    assert clock() == NOW + timedelta(seconds=60)

    machine.is_away, machine.database = False, NOW + timedelta(seconds=61)
    clock.compare()

    assert clock() == NOW + timedelta(seconds=61)
