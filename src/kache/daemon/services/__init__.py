"""Work beside answering: one job, one file, one `run()`."""
