"""What the process layer remembers: cross-references, orders, postings, cases. In the engine's own database."""
