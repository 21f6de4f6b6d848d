"""The user's cache: digests of files, and stores of decoded samples."""
