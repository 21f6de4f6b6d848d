"""Figures of a study, each a function from plain data to a matplotlib figure.

Values are in the displayed unit; labels are any text. Where nothing can be drawn, the figure
is a sentence that says so.
"""
