"""The words of kache as data: digests, entries, memos, outcomes. Pure: no I/O beyond hashing a file's bytes."""
