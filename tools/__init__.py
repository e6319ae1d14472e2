"""What the Makefile runs: setting up, generating the reference, checking."""
