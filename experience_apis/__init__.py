"""One folder for each channel. A channel shapes and bounds what the process layer knows; it decides nothing."""
