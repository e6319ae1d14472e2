"""A bucket or directory shared with other machines: layout, trust, packs and the way to the server.

Nothing here knows the store or a compiler, and nothing is imported by a process that has no remote configured.
"""
