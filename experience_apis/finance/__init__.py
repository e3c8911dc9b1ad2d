"""What finance sees: where the posting of every invoice and payment stands."""
