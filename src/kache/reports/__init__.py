"""What happened, read from the index: SQL and pure formatting, no engine."""
