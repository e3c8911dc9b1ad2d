"""The delivery of what was sold."""
