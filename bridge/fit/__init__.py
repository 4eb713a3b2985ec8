"""Fit the twin to responses."""
