"""Who calls: tokens, keys, client secrets, revocation, signatures of webhooks."""
