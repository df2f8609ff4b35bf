"""Photos of every kind, and the difference between two of them."""

import io
from typing import Any

import numpy as np
import pillow_heif
import pyvips
from PIL import Image

from tests.enhancer.running import gradient


def jpeg(width: int = 96, height: int = 64) -> bytes:
    return bytes(gradient(width, height).jpegsave_buffer(Q=95))


def png(width: int = 96, height: int = 64) -> bytes:
    return bytes(gradient(width, height).pngsave_buffer())


def transparent_png() -> bytes:
    """More transparent to the right."""
    photo = gradient(96, 64)
    return bytes(photo.bandjoin(photo[0]).copy(interpretation="srgb").pngsave_buffer())


def webp() -> bytes:
    return bytes(gradient(96, 64).webpsave_buffer(lossless=True))


def heic() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(gradient(96, 64).numpy())).save(file, quality=95)
    return file.getvalue()


def portrait() -> bytes:
    """Stored rotated, as phones do, with the EXIF orientation that turns it upright."""
    rotated = gradient(64, 96).rot270()
    rotated.set_type(pyvips.GValue.gint_type, "orientation", 6)
    return bytes(rotated.jpegsave_buffer(Q=95))


def twelve_megapixels() -> bytes:
    """4,000 x 3,000 pixels with sensor noise."""
    noise = pyvips.Image.gaussnoise(4000, 3000, sigma=4, seed=1)
    return bytes((gradient(4000, 3000) + noise).cast("uchar").jpegsave_buffer(Q=85))


def opened(data: bytes) -> Any:
    return pyvips.Image.new_from_buffer(data, "", fail_on="truncated").copy_memory()


def difference(photo: Any, result: Any) -> float:
    """The mean difference of a result, shrunk to the photo's size, to the photo; 0 to 255."""
    small = result[:3].resize(photo.width / result.width, vscale=photo.height / result.height).numpy()
    return float(np.abs(small.astype(float) - photo[:3].numpy()).mean())
