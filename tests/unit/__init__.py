"""One module at a time, without servers; mirrors the source."""
