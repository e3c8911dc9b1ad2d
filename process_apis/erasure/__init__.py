"""Erasing people: what is stored of whom, and what takes its place."""
