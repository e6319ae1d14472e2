"""Settings: one table, one loader, and where the cache dir and the socket are."""
