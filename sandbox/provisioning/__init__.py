"""A stand-in for whatever provisions the product: a signed webhook in, a signed call-back with the result."""
