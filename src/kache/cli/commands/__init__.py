"""One verb a file: its flags, its examples and its handler."""
