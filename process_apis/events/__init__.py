"""What happened, to whoever subscribes: the append-only log, its intake, its dispatcher."""
