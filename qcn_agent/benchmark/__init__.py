"""Measures the engine on the user's machine and model: reuse, times, memory; beside a llama-server on request."""
