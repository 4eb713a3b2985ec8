"""Analysis of responses: equivalent kernels and the orientation field."""
