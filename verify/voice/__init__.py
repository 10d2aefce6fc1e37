"""Voice capture, stage by stage: decode, locate, normalise, quality, embed."""
