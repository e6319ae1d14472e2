"""Between the store and a remote: entries looked for after a local miss, and entries sent in the background."""
