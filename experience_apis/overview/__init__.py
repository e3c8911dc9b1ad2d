"""The overview channel: what every team sees of everything."""
