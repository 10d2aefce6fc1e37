"""Manifests, identity-disjoint splits and duplicate files: whose sample is which."""
