"""Small convolutional network, for small images."""
