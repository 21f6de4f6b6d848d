"""3D MNIST."""
