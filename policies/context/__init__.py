"""What travels with a request, and what runs beside all requests."""
