"""How much is asked, and how often the same: rate limits, load shedding, idempotency."""
