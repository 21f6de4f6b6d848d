"""From the distribution of a data set to the layout that its loader reads: a module for each, with what it expects."""
