"""The channels, in this process and without a process layer."""
