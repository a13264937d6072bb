"""Searches that Ray Tune runs, as one stage of a grid."""
