"""One process for all clients: services, socket server, and the client side (standard library only)."""
