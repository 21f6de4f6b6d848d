"""Reading and writing of YAML with the line number of every value."""
