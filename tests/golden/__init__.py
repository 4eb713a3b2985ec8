"""Golden data: what one commit computed, for `test_golden` to compare with."""
