"""What support sees: exceptions with what may be done about them, and customers."""
