"""Studies with the physiology experiments: shadows, and rates compared with spikes."""
