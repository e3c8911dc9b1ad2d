"""A real Tryton 8.2 server: its books are opened once as a template and copied for each sandbox."""
