"""scikit-image's photographs, and the similarity of a result to one of them."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data, metrics

# Without drawings and text, and without the micrograph `cell`, whose optical blur makes it immune to shrinking.
PHOTOS = [
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
]
SHRUNK_BY = {
    "box": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

Pixels = npt.NDArray[np.uint8]


def psnr(original: Pixels, result: Pixels) -> float:
    """In dB."""
    return float(metrics.peak_signal_noise_ratio(original, result))  # type: ignore[no-untyped-call]  # it has no types


def photograph(name: str) -> Pixels:
    """A photograph of scikit-image, cropped to sides that are multiples of 4 and at most 1,024 pixels."""
    pixels: Pixels = getattr(data, name)()
    height, width = (min(side, 1024) // 4 * 4 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])
