"""What we know of cargo: its command line, where it puts things, and the files by which it judges freshness."""
