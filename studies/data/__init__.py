"""Data sets of images and where they come from."""
