"""Model of the transformers library from a folder."""
