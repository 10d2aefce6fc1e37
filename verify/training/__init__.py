"""Training side: what needs torch. Inference never imports it; it sees training through bundles only."""
