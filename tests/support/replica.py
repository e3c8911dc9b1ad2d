"""One replica that counts with others in Redis: calls as fast as it can, and prints what it was allowed in each second.

It says `ready` when it has reached Redis, and begins when it is given the time (seconds since 1970) until which it
calls.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime

from policies.catalogue.model import Operation
from policies.problems import ProblemError
from policies.traffic.rate_limit import RateLimitedCall, RateLimiter, ThrottleTier, limits_of, shared_storage


async def ask(url: str, rate: int) -> Counter[int]:
    """Return how many calls were allowed, by the second in which they were."""
    now = datetime.now(UTC)

    def clock() -> datetime:
        nonlocal now
        now = datetime.now(UTC)
        return now

    throttle = RateLimiter(clock, shared_storage(url, 1.0))
    limits = limits_of(ThrottleTier(f"{rate}/second", 10**9, 1), Operation("t", "safe", "a:b"))
    allowed: Counter[int] = Counter()
    await throttle.take(RateLimitedCall("another", "read"), limits, 1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    until = float(sys.stdin.readline())
    while time.time() < until:
        try:
            await throttle.take(RateLimitedCall("client", "read"), limits, 1)
            allowed[int(now.timestamp())] += 1
        except ProblemError:
            await asyncio.sleep(0.002)
    return allowed


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(ask(sys.argv[1], int(sys.argv[2])))))
