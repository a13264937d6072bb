"""Faults that are really done to a running grid, and what they cost: `python -m tests.chaos`."""
