"""The process that compiles hits again and reports what differs."""
