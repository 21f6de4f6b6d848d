"""The table of a study: results, comparisons, analyses, notes and layout."""
