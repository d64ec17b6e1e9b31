"""Colour noise along the principal components of ImageNet's colours."""

import numpy as np
import torch

from trainables.data.transfer import to_device

# Of the RGB values of ImageNet's training images scaled to [0, 1].
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def draw_colour_shifts(generator: np.random.Generator, num_images: int, std: float) -> np.ndarray:
    """What is added to red, green and blue of each image, shape (num_images, 3), for images in [0, 1].

    Each component is a normal number with standard deviation ``std`` times the component's eigenvalue.

    Source: Krizhevsky et al. 2012, section 4.1; the components are the ones in general use, printed to four digits.
    """
    weights = generator.normal(scale=std, size=(num_images, 3)) * _EIGENVALUES
    shifts: np.ndarray = weights @ _EIGENVECTORS.T
    return shifts


def shift_colours(images: torch.Tensor, shifts: np.ndarray) -> torch.Tensor:
    """The images, float32 (b, 3, H, W) in [0, 1], plus one shift per image and channel, (b, 3); in place, not clipped."""
    return images.add_(to_device(torch.from_numpy(shifts.astype(np.float32)), images.device)[:, :, None, None])
