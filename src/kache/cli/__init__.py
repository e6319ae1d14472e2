"""The command line: one file a verb under `commands/`, and only the one used is imported."""
