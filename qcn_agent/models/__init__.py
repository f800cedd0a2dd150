"""Which GGUF to load: the embedded default and its card."""
