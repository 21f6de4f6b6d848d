"""Configuration of studies: designs, seeds and the table."""
