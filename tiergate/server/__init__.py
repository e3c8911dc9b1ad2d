"""How a layer is served."""
