"""The audit: what was done and by whom, in a sealed log, and how long it is stored."""
