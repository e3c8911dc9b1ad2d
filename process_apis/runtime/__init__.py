"""How capabilities run: durable steps, holds, the engine, the agenda. No business word is in it."""
