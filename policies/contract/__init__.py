"""What an API promises: versions and their transformations, bodies, parameters, deprecation."""
