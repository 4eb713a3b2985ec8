"""Analysis of responses: equivalent kernels, orientation field."""
