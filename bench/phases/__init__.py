"""The phases of `make bench`: one file measures one thing and returns its figures."""
