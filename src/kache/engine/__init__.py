"""The one pipeline: key, lookup, then restore, or compile and record; run by the daemon and inside a call alike."""
