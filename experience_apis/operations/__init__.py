"""What the platform team looks at: what is in force, who still calls what is going away, what would happen to a
call."""
