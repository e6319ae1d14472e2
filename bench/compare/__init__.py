"""`make bench-peers`: plain cargo, kache, other caches and a saved `target/`, on projects of different kinds."""
