"""A stand-in for a system that provisions the product: a signed webhook in, a signed call-back with the result."""
