"""What leaves: for a platform or for the next layer, and what may."""
