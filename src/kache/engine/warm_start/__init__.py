"""Warm start: what a finished build left is kept as whole units, and put into a fresh target before cargo asks.

cargo stays the judge: fingerprints are only those cargo wrote, and a unit is dated newer than its sources only once
every input of its compile was found unchanged. Source: docs/decisions/0007.
"""
