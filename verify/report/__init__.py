"""Results as pages that people read: self-contained HTML, no network requests."""
