"""What a layer measures of itself."""
