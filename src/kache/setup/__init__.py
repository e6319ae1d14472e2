"""Looking after an installation: checks of `kache doctor` and its probe."""
