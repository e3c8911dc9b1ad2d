"""Stand-ins for the platforms, for people who want to try Tiergate without an account anywhere."""
