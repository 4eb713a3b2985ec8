"""Fits the twin to responses."""
