"""Who calls: tokens, keys, client secrets, revocation, webhook signatures."""
