"""One feature a file; each registers itself on a server."""
