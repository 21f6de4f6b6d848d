"""Typed configuration of trials, studies and searches, without torch, ray or mlflow."""
