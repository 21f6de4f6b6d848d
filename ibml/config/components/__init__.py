"""Base class and registries of component configurations."""
