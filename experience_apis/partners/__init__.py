"""What partners build on: orders for their customers. The newest version is `api`, an older one a list of changes."""
