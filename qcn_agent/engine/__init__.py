"""Hosts the model: token ids in, token ids out. `text.py` is the border to strings."""
