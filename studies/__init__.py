"""Studies that compare how robust the simulated and the learned pathway are when the light changes."""
