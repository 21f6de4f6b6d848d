"""A user's own tables."""
