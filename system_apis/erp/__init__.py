"""Legal entities, credit, postings."""
