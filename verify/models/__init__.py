"""Model bundles: registry, sources, conversion and sessions."""
