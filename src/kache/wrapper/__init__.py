"""The same engine inside one call, for when there is no daemon."""
