"""What salespeople see: their orders, how far each is, and what it waits for."""
