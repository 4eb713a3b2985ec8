"""Scores a fitted twin."""
