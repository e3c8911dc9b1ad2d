"""Everything on loopback, counted on the platforms."""
