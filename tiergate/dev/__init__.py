"""Everything on one machine: the sandbox, the demo, what each platform holds."""
