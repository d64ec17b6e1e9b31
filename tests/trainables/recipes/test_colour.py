import numpy as np
import torch

from trainables.recipes.colour import draw_colour_shifts, shift_colours


def test_shifts_have_the_covariance_of_the_components() -> None:
    shifts = draw_colour_shifts(np.random.default_rng(0), 200_000, 0.1)
    values, vectors = np.linalg.eigh(np.cov(shifts.T))
    # Standard deviations along the components: 0.1 times ImageNet's eigenvalues as AlexNet's successors print them.
    np.testing.assert_allclose(np.sqrt(values[::-1]), 0.1 * np.array([0.2175, 0.0188, 0.0045]), rtol=0.02)
    # The first component is brightness: all three colours alike.
    np.testing.assert_allclose(np.abs(vectors[:, 2]), [1 / np.sqrt(3)] * 3, atol=0.02)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1e-3)


def test_the_strength_scales_the_shifts() -> None:
    one, two = (draw_colour_shifts(np.random.default_rng(1), 10, std) for std in (0.1, 0.2))
    np.testing.assert_allclose(two, 2 * one)


def test_each_image_and_channel_gets_its_shift() -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    shifts = np.arange(6.0).reshape(2, 3)
    found = shift_colours(images.clone(), shifts)
    torch.testing.assert_close(found - images, torch.arange(6.0).view(2, 3, 1, 1).expand_as(images))
