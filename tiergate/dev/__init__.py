"""Everything on one machine: the sandbox, the demo, and views of what each platform holds."""
