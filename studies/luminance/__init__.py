"""The luminance study: recognition when the light changes. `run` has the protocol."""
