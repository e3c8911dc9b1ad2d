"""HTTP as a client. No rule of ours is in it."""
