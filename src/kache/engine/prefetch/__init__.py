"""Learning what builds use, and bringing what the next one needs before it asks."""
