"""Views for the terminal: overview, single trial, comparison and sample size."""
