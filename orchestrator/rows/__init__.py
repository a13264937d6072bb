"""Rows as the store holds them, and the grids that they belong to."""
