"""Score a fitted twin."""
