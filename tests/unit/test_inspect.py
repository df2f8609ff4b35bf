"""What is known of an upload before it is paid for, and the URL with which the enhancer reads it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from moto import mock_aws

from lumendrop import clients, images, storage
from lumendrop.outcomes import Rejected
from lumendrop.storage import OwnResult, Source
from lumendrop.uploads import Upload
from tests.unit import photos
from tests.unit.photos import box, chunk, frame, heic, jpeg, png, webp
from tests.unit.world import ACCOUNT, INPUT

NOISE = random.Random(7).randbytes(300_000)  # noqa: S311  # no secret
LONG = jpeg(frame(width=4032, height=3024), data=b"\x12\x34" * 200_000)
LONG_PNG = png().replace(b"\0\0\0\0IEND", chunk(b"IDAT", NOISE[:50_000]) * 8 + b"\0\0\0\0IEND")


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = clients.s3(ACCOUNT)
        client.create_bucket(Bucket=INPUT)
        client.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
        yield client


def put(s3: Any, body: bytes, key: str = "photo.jpg", **more: Any) -> Upload:
    version = s3.put_object(Bucket=INPUT, Key=key, Body=body, **more)["VersionId"]
    return Upload(INPUT, key, version, "01", len(body), "")


def inspect(s3: Any, body: bytes, key: str = "photo.jpg", **more: Any) -> Source:
    return storage.inspect(s3, put(s3, body, key, **more), 100_000_000)


WHOLE = {
    "jpeg": (LONG, "4032x3024", "one"),
    "jpeg with more after its end": (LONG + NOISE, "4032x3024", "one"),
    "mpo": (jpeg(b"\xff\xe2\x00\x06MPF\0", frame()) + LONG, "8x8", "several"),
    "png": (LONG_PNG, "4x4", "one"),
    "png with more after its end": (LONG_PNG + NOISE, "4x4", "one"),
    "apng": (png().replace(b"\0\0\0\0IEND", chunk(b"acTL", b"\0" * 8) + b"\0\0\0\0IEND"), "4x4", "animation"),
    "webp": (webp(), "4x4", "one"),
    "heic": (heic(), "4x4", "one"),
    "mif2": (heic(brands=b"mif2\0\0\0\0mif1"), "4x4", "one"),
    "heif sequence": (heic(brands=b"msf1\0\0\0\0hevc"), None, "animation"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_upload_states_its_pixels_and_pictures(s3: Any, name: str) -> None:
    body, pixels, pictures = WHOLE[name]
    source = inspect(s3, body)

    assert (source.upload.pixels, source.upload.pictures) == (pixels, pictures)


REJECTED = {
    "three bytes": (b"\xff\xd8\xff", "truncated"),
    "start and end": (b"\xff\xd8\xff\xd9", "not_an_image"),
    "jpeg cut": (LONG[:-2], "truncated"),
    "jpeg cut in the middle": (LONG[:250_000], "truncated"),
    "png cut": (LONG_PNG[:-12], "truncated"),
    "png cut in the middle": (LONG_PNG[:250_000], "truncated"),
    "webp cut": (webp()[:-1], "truncated"),
    "heic cut": (heic()[:-1], "truncated"),
    "jpeg-ls": (jpeg(frame(0xF7)), "unsupported_image"),
    "cgbi": (png(4, 4, chunk(b"CgBI", b"\x50\0\x20\x06")), "unsupported_image"),
    "avif": (heic(brands=b"avif\0\0\0\0mif1miafavif"), "unsupported_image"),
    "gif": (b"GIF89a" + b"\0" * 80, "unsupported_image"),
    "60,000 x 60,000": (png(60_000, 60_000), "too_many_pixels"),
    "no image": (box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free", b""), "not_an_image"),
    "text": (b"Dear diary", "not_an_image"),
    "nothing": (b"", "not_an_image"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_the_bytes_rule_out_is_rejected(s3: Any, name: str) -> None:
    body, code = REJECTED[name]
    with pytest.raises(Rejected) as caught:
        inspect(s3, body)

    assert caught.value.outcome.code == code
    assert not caught.value.outcome.may_have_cost


@pytest.mark.parametrize("extension", [".filepart", ".part", ".partial", ".crdownload", ".FILEPART"])
def test_the_extensions_of_incomplete_files_are_rejected(s3: Any, extension: str) -> None:
    with pytest.raises(Rejected) as caught:
        inspect(s3, LONG, f"photo.jpg{extension}")

    assert caught.value.outcome.code == "truncated"


@pytest.mark.parametrize(
    "metadata",
    [
        {"task-id": "task-1", "source-version-id": "v1", "source-key": "a.jpg", "model": "m", "attempt": "1"},
        {"task-id": "task-1", "source-version-id": "v1", "source-bucket": "another"},
    ],
)
def test_a_result_that_was_copied_into_the_input_bucket_is_recognized(s3: Any, metadata: dict[str, str]) -> None:
    with pytest.raises(OwnResult):
        inspect(s3, LONG, Metadata=metadata)


def test_a_result_that_was_edited_is_a_photo(s3: Any) -> None:
    """Many tools keep the metadata of an object that they write again."""
    marked = {"task-id": "task-1", "source-version-id": "v1"}
    with pytest.raises(OwnResult):
        inspect(s3, LONG, Metadata=marked | {"result-bytes": str(len(LONG))})

    assert inspect(s3, LONG, Metadata=marked | {"result-bytes": str(len(LONG) - 1)}).upload.pixels


@pytest.mark.parametrize("metadata", [{}, {"task-id": "mine"}, {"source-version-id": "mine"}])
def test_metadata_of_the_owner_is_not_taken_for_that_of_a_result(s3: Any, metadata: dict[str, str]) -> None:
    assert inspect(s3, LONG, Metadata=metadata).upload.pixels


def test_the_size_is_that_of_the_object(s3: Any) -> None:
    """A message may state another one."""
    upload = put(s3, photos.jpeg(frame()) + NOISE)
    wrong = Upload(upload.bucket, upload.key, upload.version_id, "", 5, "")

    assert storage.inspect(s3, wrong, 1_000_000).upload.size == upload.size
    with pytest.raises(Rejected) as caught:
        storage.inspect(s3, wrong, 1000)
    assert caught.value.outcome.code == "too_big"


STORED = {
    "ContentEncoding": "gzip",
    "ContentLanguage": "en",
    "ContentDisposition": 'attachment; filename="a.bin"',
    "CacheControl": "max-age=31536000",
    "ContentType": "application/octet-stream",
}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "aws-chunked", "nonsense"])
def test_stored_headers_do_not_go_out_with_the_presigned_url(s3: Any, encoding: str) -> None:
    upload = put(s3, LONG, **(STORED | {"ContentEncoding": encoding}))
    url = storage.presign(s3, Source(upload, images.JPEG, {}))
    response = requests.get(url, timeout=10)

    assert response.content == LONG
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Encoding"] == "identity"
    assert "max-age" not in response.headers["Cache-Control"]
    assert "attachment" not in response.headers["Content-Disposition"]
    assert response.headers["Content-Language"] != "en"


def test_a_presigned_url_needs_no_headers(s3: Any) -> None:
    url = storage.presign(s3, Source(put(s3, LONG), images.JPEG, {}))

    assert "X-Amz-SignedHeaders=host&" in f"{url}&"
