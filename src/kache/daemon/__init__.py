"""The background process: the engine behind a unix socket, and the work that can wait."""
