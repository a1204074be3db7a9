"""A seeded draw of the checkout's prose for readers, and a linter for its style."""
