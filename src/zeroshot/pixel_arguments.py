"""Check pixels of images that keep their aspect ratio, which a user passes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zeroshot.errors import InputError, shortened


def to_images(pixels: Tensor | Sequence[Tensor], patch: int, most: int) -> list[Tensor]:
    """Return the pixels of each image: [3, height, width].

    Args:
        pixels: One image [3, height, width], images of one shape [n, 3, height, width], or a list
            of images.
        patch: Side of a patch in pixels, of which both sides of an image are multiples.
        most: The largest number of patches of an image.

    Returns:
        A list of tensors, one per image.

    Raises:
        InputError: The shape of an image is wrong.
    """
    images = [pixels] if isinstance(pixels, Tensor) and pixels.ndim < 4 else list(pixels)
    for i, image in enumerate(images):
        shape = tuple(image.shape)
        got = f"{shape}"
        if (
            len(shape) == 3
            and shape[0] == 3
            and all(shape)
            and not any(n % patch for n in shape[1:])
        ):
            patches = shape[1] * shape[2] // patch**2
            if patches <= most:
                continue
            got = f"{shape}, which has {patches} patches"
        raise InputError(
            f"expected pixels[{i}] of shape (3, height, width), both multiples of {patch} and at "
            f"most {most} patches of {patch} x {patch}, got {shortened(got)}; use "
            "model.prepare(image) to make them, and a list of them for several images"
        )
    return images
