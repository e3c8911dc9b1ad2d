"""The rules that every API obeys. `chain.py` composes them, and is the only way to make a governed app."""
