"""The one pipeline: key, lookup, then restore, or compile and record. The daemon and the in-process wrapper both run it."""
