"""Quantized models, unlearning methods and metrics: plain functions that know nothing of a cluster."""
