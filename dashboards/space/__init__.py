"""What the trials say about their search space: best regions, divergence, importance, maps."""
