"""UCI Multiple Features, whose data are part of the package."""
