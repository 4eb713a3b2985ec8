"""Units, files, progress."""
