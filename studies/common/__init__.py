"""Code that several studies share: classifiers, training, statistics, parallel tasks, published models."""
