"""The differentiable twin of the circuit."""
