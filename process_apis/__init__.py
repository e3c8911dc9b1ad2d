"""Business capabilities as durable workflows: the state machine, its compensations and its exceptions."""
