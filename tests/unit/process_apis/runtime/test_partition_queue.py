"""The queue of partitions is polled when something waits in it, and no sooner."""

from __future__ import annotations

from process_apis.runtime.partition_queue import WakeableStop


def test_news_end_the_wait_for_the_next_poll_and_a_stop_does_too() -> None:
    stop = WakeableStop(lambda: True)
    stop.wake()

    woken, timed_out = stop.wait(20), stop.wait(0.01)
    stop.set()

    assert (woken, timed_out, stop.wait(20)) == (False, False, True)


def test_as_long_as_nothing_waits_the_queue_is_looked_at_and_not_polled() -> None:
    looks = iter([False, False, True])
    stop = WakeableStop(lambda: next(looks))

    polled = stop.wait(0.001)

    assert polled is False
    assert list(looks) == []
