"""Storage of what policies remember. No rule of the gateway is in here."""
