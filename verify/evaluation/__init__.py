"""From data sets to operating points: embeddings, trials, thresholds, measured rates."""
