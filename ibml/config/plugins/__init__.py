"""Plug-ins: components of other packages, the allow list, and error locations."""
