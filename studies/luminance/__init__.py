"""The luminance study: recognition when the light changes."""
