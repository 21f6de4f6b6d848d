"""ModelNet40."""
