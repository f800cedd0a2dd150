"""Inline completions within a latency budget."""
