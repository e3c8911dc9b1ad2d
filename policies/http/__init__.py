"""HTTP clients. No rule of the gateway is in here."""
