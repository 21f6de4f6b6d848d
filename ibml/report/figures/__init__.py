"""Figures of a study, each a function from plain data to a matplotlib figure.

Values come in the unit that is shown; labels are any text. What cannot be drawn gives a figure with a sentence.
"""
