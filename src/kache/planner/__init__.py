"""Which artifacts a coming build will need: learnt from builds that were. Its answers are advice."""
