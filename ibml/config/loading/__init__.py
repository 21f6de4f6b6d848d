"""Loading of YAML files: layers, overrides, validation, error messages and JSON schemas."""
