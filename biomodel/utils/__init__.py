"""Units, errors, files and progress."""
