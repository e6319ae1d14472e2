"""`kache init`: look, plan, apply, and take back. One part of the setup a file, each gives a `Step`."""
