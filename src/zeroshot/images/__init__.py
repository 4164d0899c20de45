"""Convert any supported image input to upright RGB, then to normalized pixels.

`opening` accepts paths, URLs, bytes, files, PIL images, arrays and tensors; `inputs` reads uploads,
responses and base64 text; `pillow_codecs` and `decoding` read image files with an allow-list of
codecs; `arrays` converts arrays and tensors; `download` fetches URLs; `preprocess` resizes and
normalizes.
"""

from zeroshot.images.opening import ImageLike, Sample, describe, is_single, iterate, open_image

__all__ = ["ImageLike", "Sample", "describe", "is_single", "iterate", "open_image"]
