"""The facts that the platform team governs: their file, their model, their checks."""
