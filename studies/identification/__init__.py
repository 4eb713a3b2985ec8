"""The identification study: how well each model predicts responses it was not fitted to."""
