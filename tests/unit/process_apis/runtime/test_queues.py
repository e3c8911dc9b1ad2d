"""A queue is polled when something waits in it, and no sooner."""

from __future__ import annotations

from time import monotonic

from process_apis.runtime.queues import WakeableStop


def test_news_end_the_wait_for_the_next_poll_and_a_stop_does_too() -> None:
    stop, began = WakeableStop(lambda: True, poll=20), monotonic()
    stop.wake()
    woken = stop.wait()
    stop.set()

    assert (woken, stop.wait()) == (False, True)
    assert monotonic() - began < 10


def test_without_news_the_wait_ends_with_the_next_poll() -> None:
    assert WakeableStop(lambda: True, poll=0.001).wait() is False


def test_as_long_as_nothing_waits_the_queue_is_looked_at_and_not_polled() -> None:
    looks = iter([False, False, True])
    stop = WakeableStop(lambda: next(looks), poll=0.001)

    polled = stop.wait()

    assert polled is False
    assert list(looks) == []
