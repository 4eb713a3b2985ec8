"""Studies with the physiology experiments: shadows, and rates beside spikes."""
