"""The sandbox's enhancer compared with OpenCV's and Pillow's Lanczos: quality, speed, memory.

Quality on scikit-image's photographs, shrunk and enlarged again. Speed from JPEG bytes to JPEG bytes, each in a process
of its own after a small photo to warm up; the contenders alternate.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from rich.progress import track
from skimage import data, metrics

from benchmarks import plots, results
from sandbox.enhancer import enhance
from tests.enhancer.photographs import PHOTOS, SHRUNK_BY, Pixels, photograph, psnr

RUN_SECONDS = 120
MEGAPIXEL = 1_000_000

Enlarge = Callable[[bytes, str], bytes]
"""From a photo's bytes and a resolution to the result's bytes."""


def ours(photo: bytes, resolution: str) -> bytes:
    """The sandbox's enhancer."""
    with tempfile.TemporaryDirectory() as folder:
        return enhance.enhance(photo, Path(folder) / "result", resolution).path.read_bytes()


def opencv(photo: bytes, resolution: str) -> bytes:
    """OpenCV, Lanczos."""
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None  # it is a JPEG
    size = _size(pixels.shape[1], pixels.shape[0], enhance.LONG_SIDE[resolution])
    large = cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4)
    return cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, enhance.JPEG_QUALITY])[1].tobytes()


def pillow(photo: bytes, resolution: str) -> bytes:
    """Pillow, Lanczos."""
    image = Image.open(io.BytesIO(photo))
    large = image.resize(_size(*image.size, enhance.LONG_SIDE[resolution]), Image.Resampling.LANCZOS)
    result = io.BytesIO()
    large.save(result, "JPEG", quality=enhance.JPEG_QUALITY)
    return result.getvalue()


CONTENDERS: dict[str, Enlarge] = {"the sandbox's enhancer": ours, "OpenCV": opencv, "Pillow": pillow}


def _size(width: int, height: int, long_side: int) -> tuple[int, int]:
    scale = long_side / max(width, height)
    return round(width * scale), round(height * scale)


def _jpeg(pixels: Pixels) -> bytes:
    result = io.BytesIO()
    Image.fromarray(pixels).save(result, "JPEG", quality=enhance.JPEG_QUALITY)
    return result.getvalue()


def run(contender: str, resolution: str) -> None:
    """Enhances one photo of two megapixels; prints seconds, megapixels of the result, and peak memory."""
    enlarge = CONTENDERS[contender]
    enlarge(_jpeg(data.coffee()[:64, :64]), "1K")
    photo = _jpeg(data.retina())
    begun = time.perf_counter()
    result = enlarge(photo, resolution)
    seconds = time.perf_counter() - begun
    width, height = Image.open(io.BytesIO(result)).size
    peak = results.peak_megabytes("self")
    print(json.dumps({"seconds": seconds, "megapixels": width * height / MEGAPIXEL, "peak_megabytes": peak}))


def speed(rounds: int) -> dict[str, Any]:
    """By resolution and contender: seconds, megapixels per second, peak memory."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in track(range(rounds), "speed", transient=True):
        for resolution in enhance.LONG_SIDE:
            for name in CONTENDERS:
                command = [sys.executable, "-m", "benchmarks.enhancer", "--run", name, resolution]
                done = subprocess.run(
                    command, cwd=results.REPO, stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS, check=True
                )
                found.setdefault(resolution, {}).setdefault(name, []).append(json.loads(done.stdout))
    return {
        resolution: {
            name: {
                "seconds": results.spread([one["seconds"] for one in runs]),
                "megapixels_per_second": results.spread([one["megapixels"] / one["seconds"] for one in runs]),
                "peak_megabytes": results.spread([one["peak_megabytes"] for one in runs]),
            }
            for name, runs in contenders.items()
        }
        for resolution, contenders in found.items()
    }


def quality() -> dict[str, Any]:
    """By contender: mean PSNR in dB and mean SSIM over every photo, factor and way to shrink it."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for name in track(PHOTOS, "quality", transient=True):
        original = photograph(name)
        for factor in (2, 4):
            for filter_ in SHRUNK_BY.values():
                size = (original.shape[1] // factor, original.shape[0] // factor)
                small = np.asarray(Image.fromarray(original).resize(size, filter_))
                for contender, pixels in _enlarged(small, original).items():
                    scores[contender].append((psnr(original, pixels), _ssim(original, pixels)))
    return {
        name: {
            "psnr_db": sum(one for one, _ in found) / len(found),
            "ssim": sum(one for _, one in found) / len(found),
            "best_psnr": sum(
                one == max(others[at][0] for others in scores.values()) for at, (one, _) in enumerate(found)
            ),
            "of": len(found),
        }
        for name, found in scores.items()
    }


def _enlarged(small: Pixels, like: Pixels) -> dict[str, Pixels]:
    """To the size of the original, without a JPEG's own losses."""
    height, width = like.shape[:2]
    png = io.BytesIO()
    Image.fromarray(small).save(png, "PNG")
    sides = dict(enhance.LONG_SIDE)
    enhance.LONG_SIDE["1K"] = max(height, width)
    try:
        own = enhance.enhanced_pixels(png.getvalue(), "1K").numpy().reshape(like.shape)
    finally:
        enhance.LONG_SIDE.update(sides)
    return {
        "the sandbox's enhancer": own,
        "OpenCV": np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8),
        "Pillow": np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.LANCZOS)),
    }


def _ssim(original: Pixels, result: Pixels) -> float:
    bands = 2 if original.ndim == 3 else None
    found = metrics.structural_similarity(original, result, channel_axis=bands)  # type: ignore[no-untyped-call]  # as it is
    return float(found)


def plot(fast: dict[str, Any], good: dict[str, Any]) -> None:
    """Quality against speed at 4K."""
    made, (axes,) = plots.figure(1, width=5.5, height=3.2)
    for name in CONTENDERS:
        rate, decibels = fast["4K"][name]["megapixels_per_second"]["median"], good[name]["psnr_db"]
        axes.plot(rate, decibels, "o", color=plots.OURS if CONTENDERS[name] is ours else plots.PEER)
        axes.annotate(name, (rate, decibels), textcoords="offset points", xytext=(6, 4), color=plots.GREY)
    axes.margins(x=0.4, y=0.2)
    axes.set_xlabel("megapixels per second at 4K")
    axes.set_ylabel("mean PSNR, dB")
    plots.save_plot("enhancer", made)


def main() -> None:
    """Prints the tables; writes the JSON and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enhancer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="photos per contender and resolution (default 7)")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(*arguments.run)
        return
    fast, good = speed(arguments.rounds), quality()
    rows = [
        [
            f"{resolution}: {name}",
            *(one[key]["median"] for key in ("seconds", "megapixels_per_second", "peak_megabytes")),
        ]
        for resolution, contenders in fast.items()
        for name, one in contenders.items()
    ]
    plots.show("Enhancer: speed", ["", "seconds", "megapixels per second", "peak MB"], rows)
    rows = [[name, one["psnr_db"], one["ssim"], f"{one['best_psnr']} of {one['of']}"] for name, one in good.items()]
    plots.show("Enhancer: quality", ["", "PSNR, dB", "SSIM", "best PSNR"], rows)
    plot(fast, good)
    results.write("enhancer", "make bench-enhancer", {"speed": fast, "quality": good})


if __name__ == "__main__":
    main()
