"""Helpers without domain knowledge: errors, files, storage, redaction, hashing, random streams."""
