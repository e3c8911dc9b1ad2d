"""The command line, the settings, and the composition of the three deployables."""
