"""ResNet-18 (He et al. 2016) over images, frames, views or spectrograms."""
