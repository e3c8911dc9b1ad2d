"""What happened, to those who subscribe: the append-only log, its intake, its dispatcher."""
