"""Where policies keep what they remember. No rule of ours is in it."""
