"""Talking between the launcher, the engines and the command line: frames, a client, and the daemon's start and stop."""
