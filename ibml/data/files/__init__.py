"""Data sets in files: scanning, validation, splits, and batches of stored samples."""
