"""Side-by-side measurements of what should be fast: `python -m tests.bench`."""
