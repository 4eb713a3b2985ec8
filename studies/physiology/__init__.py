"""Studies with the physiology experiments: a shadow, rates against spikes."""
