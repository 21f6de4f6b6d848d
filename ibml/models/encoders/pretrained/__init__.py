"""A model of the transformers library from a folder."""
