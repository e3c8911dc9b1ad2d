"""What was done, by whom: the sealed log, and how long it is kept."""
