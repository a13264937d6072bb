"""Four papers: the grids behind their tables and figures, and what Q-MUL's printed."""
