"""Runs circuits: plans, compiled binaries and their cache, responses and stores."""
