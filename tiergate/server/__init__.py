"""The server of a layer."""
