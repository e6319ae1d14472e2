"""What is kept between builds: blobs on disk, and the SQLite index that says what they are. Start at `local`."""
