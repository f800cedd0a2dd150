"""Inline completion."""
