"""Multilayer perceptron over a vector."""
