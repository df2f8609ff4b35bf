"""deliver, through its handler: which results it accepts, and what it writes."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import requests
from botocore.exceptions import ClientError

from lumendrop.storage import LostRace
from lumendrop.uploads import Upload
from tests.unit import photos
from tests.unit.conftest import LoadFunction
from tests.unit.world import (
    ACCOUNT,
    HEIC,
    JPEG,
    KEY,
    OUTPUT,
    PNG,
    RESULT_URL,
    WEBP,
    Answer,
    Broken,
    Context,
    Reply,
    World,
    completed,
    refusal,
    sample,
)

OLDER, MIDDLE, NEWER = "00617F08299329D188", "00617F08299329D189", "00617F08299329D190"
EVIDENCE = {
    "a JPEG with 70,000 bytes after its end": JPEG + random.Random(7).randbytes(70_000),  # noqa: S311  # no secret
    "a JPEG with a movie after its end": JPEG + b"\0\0\0\x18ftypmp42" + b"\0" * 70_000,
    "a PNG with bytes after its end": PNG + b"\0" * 70_000,
}
THUMBNAIL = b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG
CUT = {
    "a JPEG cut after the thumbnail in its EXIF": photos.jpeg(THUMBNAIL, photos.frame(), data=b"\x12" * 500)[:-300],
    "a JPEG without its end": JPEG[:-2],
    "a PNG cut short": PNG[:-12],
    "a WebP cut short": WEBP[:-12],
    "a HEIC cut short": HEIC[:-1],
    "a HEIC of which a tile is cut": photos.heic(items=3)[:-1],
}
OTHERS = {
    "an AVIF image": photos.heic(brands=b"avif\0\0\0\0mif1miafavif"),
    "a TIFF image": b"MM\0*" + b"\0" * 100,
    "a JPEG XL image": b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 100,
    "a GIF image": b"GIF89a" + b"\0" * 100,
}


@pytest.fixture
def deliver(function: LoadFunction) -> ModuleType:
    """Without the label, so that results are delivered as they are."""
    return function("deliver", ENHANCEMENT_LABEL="omit")


def request(key: str = "a/photo.jpg", *, options: Any = None, task: str = "task-1", **upload: Any) -> Any:
    """The sample event, for another upload."""
    event = sample("deliver")
    event["upload"] |= {"key": key} | upload
    event["task"]["id"] = task
    return event | ({"options": options} if options else {})


def run_delivery(world: World, deliver: ModuleType, event: Any = None, result: Reply | bytes = JPEG) -> Any:
    """One delivery of a completed task whose link leads to `result`."""
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(200, result) if isinstance(result, bytes) else result)
    return deliver.handler(event or request(), Context())


def stored(world: World) -> dict[str, Any]:
    """The objects in the output bucket: key to body, type and metadata."""
    return {key: world.s3.get_object(Bucket=OUTPUT, Key=key) for key in keys(world)}


def keys(world: World) -> list[str]:
    return [one["Key"] for one in world.s3.list_objects_v2(Bucket=OUTPUT).get("Contents", [])]


def puts(world: World) -> list[dict[str, Any]]:
    return [call.request for call in world.calls if call.operation == "PutObject"]


def writes(world: World) -> int:
    """The number of successful writes."""
    return len(world.s3.list_object_versions(Bucket=OUTPUT).get("Versions", []))


# ---------------------------------------------------------------- what is written


def test_the_sample_event_is_delivered(world: World, deliver: ModuleType) -> None:
    answer = run_delivery(world, deliver, sample("deliver"))

    assert answer["state"] == "enhanced"
    assert answer["output"]["key"] == "incoming/my photo+1%41.jpg"


def test_the_photo_is_written_with_type_metadata_and_checksum(world: World, deliver: ModuleType) -> None:
    options = {"resolution": "1K", "creativity": 0.3, "profile_ids": ["p-1", "p-2"]}
    answer = run_delivery(world, deliver, request("a/my photo+ü.jpg", options=options, version_id="v1", sequencer="01"))

    written = stored(world)["a/my photo+ü.jpg"]
    assert written["Body"].read() == JPEG
    assert written["ContentType"] == "image/jpeg"
    metadata = written["Metadata"]
    assert unquote(metadata.pop("source-key")) == "a/my photo+ü.jpg"
    assert metadata == {
        "source-bucket": "input-bucket",
        "source-pixels": "4032x3024",
        "result-pixels": "8x8",
        "result-bytes": str(len(JPEG)),
        "source-version-id": "v1",
        "sequencer": "01",
        "correlation-id": sample("deliver")["correlation_id"],
        "task-id": "task-1",
        "attempt": "1",
        "model": "phota-image-enhance",
        "resolution": "1K",
        "creativity": "0.3",
        "profile-ids": "p-1,p-2",
        "left-out": "the file's metadata: the upload was deleted",
        "warnings": "aspect_ratio_changed",
    }
    (put,) = puts(world)
    assert put["headers"]["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(JPEG).digest()).decode()
    assert answer == {
        "state": "enhanced",
        "output": {
            "bucket": OUTPUT,
            "key": "a/my photo+ü.jpg",
            "version_id": written["VersionId"],
            "bytes": len(JPEG),
            "format": "jpeg",
            "pixels": "8x8",
            "smaller": True,
            "warnings": ["aspect_ratio_changed"],
            "carried_over": [],
            "left_out": ["the file's metadata: the upload was deleted"],
            "sidecar": None,
        },
    }


def test_the_signature_covers_the_photo(world: World, deliver: ModuleType) -> None:
    sent: list[str] = []

    def note(request: Any, **_: object) -> None:
        sent.append(request.headers["X-Amz-Content-SHA256"].decode())

    deliver.S3.meta.events.register_first("before-send.s3.PutObject", note)
    try:
        run_delivery(world, deliver)
    finally:
        deliver.S3.meta.events.unregister("before-send.s3.PutObject", note)

    assert sent == [hashlib.sha256(JPEG).hexdigest()]


@pytest.mark.parametrize(
    ("key", "result", "output"),
    [
        ("a.jpg", JPEG, "a.jpg"),
        ("a.JPEG", JPEG, "a.JPEG"),
        ("a.jpg", PNG, "a.jpg.png"),
        ("a.png", PNG, "a.png"),
        ("a.heic", JPEG, "a.heic.jpg"),
        ("a.heif", HEIC, "a.heif"),
        ("a.webp", WEBP, "a.webp"),
        ("a", WEBP, "a.webp"),
        ("a.jpg/b", JPEG, "a.jpg/b.jpg"),
        ("a/b/../c.jpg", JPEG, "a/b/../c.jpg"),
    ],
)
def test_the_output_key_fits_the_results_format(
    world: World, deliver: ModuleType, key: str, result: bytes, output: str
) -> None:
    assert run_delivery(world, deliver, request(key), result)["output"]["key"] == output
    assert keys(world) == [output]


@pytest.mark.parametrize("key", ["x" * 1024, "ü" * 512, "📷" * 256, "x" + "ü" * 511 + "x"])
def test_the_longest_keys_get_an_output_key_too(world: World, deliver: ModuleType, key: str) -> None:
    output = run_delivery(world, deliver, request(key))["output"]["key"]

    assert len(output.encode()) <= 1024
    assert output.endswith(".jpg")
    other = run_delivery(world, deliver, request(key[:-1] + "y"))["output"]["key"]
    assert other != output


def test_all_metadata_stays_within_what_s3_allows(world: World, deliver: ModuleType) -> None:
    options = {"resolution": "4K", "creativity": 0.123456789, "profile_ids": [f"{n:0128}" for n in range(20)]}
    run_delivery(world, deliver, request("ü" * 512, options=options, task="t" * 256))

    (written,) = stored(world).values()
    assert sum(len(name) + len(value) for name, value in written["Metadata"].items()) <= 2048
    assert written["Metadata"]["task-id"] == "t" * 256
    assert base64.b64decode(written["Metadata"]["source-key-base64"]).decode() == "ü" * 512


def test_the_link_does_not_leave_the_function(world: World, deliver: ModuleType, logs: io.StringIO) -> None:
    answer = run_delivery(world, deliver)

    for text in (str(answer), logs.getvalue(), *(str(call.request) for call in world.calls)):
        assert "result-token" not in text
        assert KEY not in text
    assert logs.getvalue()


def test_the_key_is_not_sent_with_the_download(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver)

    (download,) = world.enhancer.downloads
    assert "Authorization" not in download.headers
    assert download.headers["Accept-Encoding"] == "identity"


# ---------------------------------------------------------------- newest upload wins


def test_a_newer_upload_overwrites_an_older_one(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request(version_id="old", sequencer=OLDER), JPEG + b"old")
    answer = run_delivery(world, deliver, request(version_id="new", sequencer=NEWER), JPEG + b"new")

    assert answer["state"] == "enhanced"
    assert stored(world)["a/photo.jpg"]["Body"].read() == JPEG + b"new"
    assert all({"If-None-Match", "If-Match"} & set(put["headers"]) for put in puts(world))
    assert "If-Match" in puts(world)[-1]["headers"]


def test_an_older_upload_never_overwrites_a_newer_one(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request(version_id="new", sequencer=NEWER), JPEG + b"new")
    answer = run_delivery(world, deliver, request(version_id="old", sequencer=OLDER), JPEG + b"old")

    assert answer["state"] == "superseded"
    assert answer["outcome"]["status"] == "superseded"
    assert stored(world)["a/photo.jpg"]["Body"].read() == JPEG + b"new"
    assert writes(world) == 1


def test_a_photo_in_another_format_is_kept(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request("logo.png", version_id="old", sequencer=OLDER), JPEG)
    run_delivery(world, deliver, request("logo.png", version_id="new", sequencer=NEWER), PNG)

    found = {key: one["Metadata"]["sequencer"] for key, one in stored(world).items()}
    assert found == {"logo.png": NEWER, "logo.png.jpg": OLDER}


def test_the_same_delivery_twice_writes_once(world: World, deliver: ModuleType) -> None:
    first = run_delivery(world, deliver)
    second = run_delivery(world, deliver)

    assert second == first
    assert writes(world) == 1


def foreign(key: str = "a/photo.jpg", **changes: str) -> dict[str, str]:
    """The metadata of a result of version v1 of this key."""
    upload = Upload(**(sample("deliver")["upload"] | {"key": key, "version_id": "v1"}))
    made = {"source-bucket": upload.bucket, "source-key": key, "source-version-id": "v1", "sequencer": OLDER}
    return made | {"correlation-id": upload.correlation_id} | changes


FOREIGN = {
    "the owner's own picture": {},
    "a result of another key": foreign("b/photo.jpg"),
    "a result of another bucket": foreign(**{"source-bucket": "another-bucket"}),
    "an earlier release's result of another bucket": {
        name: value for name, value in foreign(**{"correlation-id": "0" * 32}).items() if name != "source-bucket"
    },
    "a result of an unknown bucket": {"source-key": "a/photo.jpg", "source-version-id": "v1", "sequencer": OLDER},
    "metadata that looks like a result's": {"source-key-base64": "a", "source-version-id": "v1", "sequencer": "none"},
}


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_object_is_never_replaced(world: World, deliver: ModuleType, metadata: dict[str, str]) -> None:
    world.s3.put_object(Bucket=OUTPUT, Key="a/photo.jpg", Body=b"foreign", Metadata=metadata)
    answer = run_delivery(world, deliver)
    again = run_delivery(world, deliver)
    newer = run_delivery(world, deliver, request(version_id="new", sequencer=NEWER), JPEG + b"new")

    assert answer["state"] == "enhanced"
    assert answer["output"]["key"] not in ("a/photo.jpg", "b/photo.jpg")
    assert again == answer
    assert newer["output"]["key"] == answer["output"]["key"]
    bodies = {key: one["Body"].read() for key, one in stored(world).items()}
    assert bodies == {"a/photo.jpg": b"foreign", answer["output"]["key"]: JPEG + b"new"}


def test_a_foreign_object_that_appears_in_the_race_is_kept(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_delivery(world, deliver, request(version_id="old", sequencer=OLDER))
    just_before_the_put(
        deliver,
        monkeypatch,
        lambda: None,
        lambda: world.s3.put_object(Bucket=OUTPUT, Key="a/photo.jpg", Body=b"foreign"),
    )
    answer = run_delivery(world, deliver)

    assert answer["state"] == "enhanced"
    assert stored(world)["a/photo.jpg"]["Body"].read() == b"foreign"
    assert stored(world)[answer["output"]["key"]]["Body"].read() == JPEG


def test_two_buckets_with_one_output_bucket_both_keep_their_photos(world: World, deliver: ModuleType) -> None:
    first = run_delivery(world, deliver, request(bucket="one", version_id="v1", sequencer=NEWER), JPEG + b"one")
    second = run_delivery(world, deliver, request(bucket="two", version_id="v2", sequencer=OLDER), JPEG + b"two")
    third = run_delivery(world, deliver, request(bucket="three", version_id="v3", sequencer=OLDER), JPEG + b"three")

    made = [answer["output"]["key"] for answer in (first, second, third)]
    assert [stored(world)[key]["Body"].read() for key in made] == [JPEG + b"one", JPEG + b"two", JPEG + b"three"]
    assert run_delivery(world, deliver, request(bucket="two", version_id="v2"), b"<html>Expired</html>") == second


def test_a_result_of_an_earlier_release_is_replaced_by_a_newer_one(world: World, deliver: ModuleType) -> None:
    metadata = {name: value for name, value in foreign().items() if name != "source-bucket"}
    world.s3.put_object(Bucket=OUTPUT, Key="a/photo.jpg", Body=b"earlier", Metadata=metadata)

    assert run_delivery(world, deliver, request(version_id="v2", sequencer=NEWER))["output"]["key"] == "a/photo.jpg"
    assert stored(world)["a/photo.jpg"]["Body"].read() == JPEG


def test_a_result_without_a_bucket_counts_as_delivered_if_its_version_matches(
    world: World, deliver: ModuleType
) -> None:
    metadata = {"source-key": "a/photo.jpg", "source-version-id": "v1"}
    world.s3.put_object(Bucket=OUTPUT, Key="a/photo.jpg", Body=b"earlier", Metadata=metadata)

    assert run_delivery(world, deliver, request(version_id="v1"))["output"]["key"] == "a/photo.jpg"
    assert stored(world)["a/photo.jpg"]["Body"].read() == b"earlier"


def test_every_call_names_the_expected_bucket_owner(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request(version_id="v1", sequencer=""))
    run_delivery(world, deliver, request(version_id="v2", sequencer=""))
    deliver.handler(report_event("v3"), Context())

    assert {call.operation for call in world.calls} >= {
        "PutObject", "HeadObject", "GetObject", "ListObjectsV2", "ListObjectVersions"
    }  # fmt: skip
    calls = [call for call in world.calls if call.operation not in ("GetSecretValue",)]
    assert {call.request["headers"].get("x-amz-expected-bucket-owner") for call in calls} == {ACCOUNT}


def just_before_the_put(deliver: ModuleType, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Runs one of `acts` before each write, after the output key was read."""
    waiting = list(acts)
    put_object = deliver.S3.put_object

    def interrupted(**arguments: Any) -> Any:
        if waiting:
            waiting.pop(0)()
        return put_object(**arguments)

    monkeypatch.setattr(deliver.S3, "put_object", interrupted)


def other_delivery(world: World, version: str, sequencer: str) -> Callable[[], object]:
    metadata = foreign(**{"source-version-id": version, "sequencer": sequencer})
    return lambda: world.s3.put_object(Bucket=OUTPUT, Key="a/photo.jpg", Body=version.encode(), Metadata=metadata)


def test_the_older_of_two_that_race_is_superseded(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_before_the_put(deliver, monkeypatch, other_delivery(world, "new", NEWER))
    answer = run_delivery(world, deliver)

    assert answer["state"] == "superseded"
    assert stored(world)["a/photo.jpg"]["Body"].read() == b"new"


def test_the_newer_of_two_that_race_is_written(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_before_the_put(deliver, monkeypatch, other_delivery(world, "old", OLDER))
    answer = run_delivery(world, deliver)

    assert answer["state"] == "enhanced"
    assert stored(world)["a/photo.jpg"]["Body"].read() == JPEG


def test_a_photo_that_is_deleted_in_the_race_is_written(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_delivery(world, deliver, request(version_id="old", sequencer=OLDER))
    just_before_the_put(deliver, monkeypatch, lambda: world.s3.delete_object(Bucket=OUTPUT, Key="a/photo.jpg"))
    answer = run_delivery(world, deliver)

    assert answer["state"] == "enhanced"
    assert stored(world)["a/photo.jpg"]["Body"].read() == JPEG


def test_a_delivery_that_keeps_losing_fails_for_now(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [other_delivery(world, f"v{n}", OLDER) for n in range(20)]
    just_before_the_put(deliver, monkeypatch, *others)
    with pytest.raises(LostRace):
        run_delivery(world, deliver)


def test_two_photos_with_one_output_key_are_both_delivered(world: World, deliver: ModuleType) -> None:
    first = run_delivery(world, deliver, request("a.heic", version_id="v1"), JPEG + b"from heic")
    second = run_delivery(world, deliver, request("a.heic.jpg", version_id="v2"), JPEG + b"from jpg")
    again = run_delivery(world, deliver, request("a.heic.jpg", version_id="v2"), JPEG + b"from jpg")

    assert first["output"]["key"] == "a.heic.jpg"
    assert second["output"]["key"] != "a.heic.jpg"
    assert second["output"]["key"].endswith(".jpg")
    assert again == second
    bodies = {key: one["Body"].read() for key, one in stored(world).items()}
    assert bodies == {"a.heic.jpg": JPEG + b"from heic", second["output"]["key"]: JPEG + b"from jpg"}


def test_the_newest_upload_wins_among_disambiguated_keys(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request("a.heic"))
    new = run_delivery(world, deliver, request("a.heic.jpg", version_id="new", sequencer=NEWER))
    old = run_delivery(world, deliver, request("a.heic.jpg", version_id="old", sequencer=OLDER))

    assert (new["state"], old["state"]) == ("enhanced", "superseded")


# ---------------------------------------------------------------- unusable results


NOT_YET: dict[str, Reply] = {
    "404": Answer(404, b""),
    "403, expired": Answer(403, b"<Error/>"),
    "410": Answer(410, b""),
    "500": Answer(500, b""),
    "206": Answer(206, JPEG),
    "204": Answer(204, b""),
    "cut short by its length": Answer(200, JPEG, {"Content-Length": str(len(JPEG) + 100)}),
    "cut short by its end": Answer(200, JPEG[:-2]),
    "a PNG cut short": Answer(200, PNG[:-12]),
    "a WebP cut short": Answer(200, WEBP[:-12]),
    "no connection": Broken(requests.ConnectionError("no"), sent=False),
    "no answer": Broken(requests.ReadTimeout("no"), sent=False),
    "not what its encoding says": Answer(200, JPEG, {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("reply", NOT_YET.values(), ids=NOT_YET)
def test_a_result_that_cannot_be_fetched_is_retried(world: World, deliver: ModuleType, reply: Reply) -> None:
    answer = run_delivery(world, deliver, result=reply)

    assert answer["state"] == "waiting"
    assert 0 < answer["wait_seconds"] <= 120
    assert keys(world) == []


NO_IMAGE = {
    "a page": b"<html>Sign in</html>",
    "JSON": b'{"error": "expired"}',
    "nothing": b"",
}


@pytest.mark.parametrize("body", EVIDENCE.values(), ids=EVIDENCE)
def test_a_whole_result_with_more_after_it_is_delivered(world: World, deliver: ModuleType, body: bytes) -> None:
    assert run_delivery(world, deliver, result=body)["state"] == "enhanced"
    assert stored(world)["a/photo.jpg" if body[:1] == b"\xff" else "a/photo.jpg.png"]["Body"].read() == body


@pytest.mark.parametrize("body", CUT.values(), ids=CUT)
def test_an_incomplete_result_is_downloaded_once_more(world: World, deliver: ModuleType, body: bytes) -> None:
    first = run_delivery(world, deliver, result=body)
    event = request() | {"incomplete": first["incomplete"]}
    other = run_delivery(world, deliver, event, body[:-1])
    unreachable = run_delivery(world, deliver, event, Answer(500, b""))
    second = run_delivery(world, deliver, event, body)

    assert (first["state"], other["state"]) == ("waiting", "waiting")
    assert other["incomplete"] != first["incomplete"]
    assert unreachable["incomplete"] == first["incomplete"]
    assert (second["state"], second["outcome"]["code"]) == ("failed", "result_incomplete")
    assert second["outcome"]["may_have_cost"] is True
    assert second["outcome"]["advice"].index("lumendrop fetch KEY") < second["outcome"]["advice"].index("pay for a new")
    assert keys(world) == []


def test_a_result_that_is_whole_the_second_time_is_delivered(world: World, deliver: ModuleType) -> None:
    first = run_delivery(world, deliver, result=JPEG[:-2])

    assert run_delivery(world, deliver, request() | {"incomplete": first["incomplete"]})["state"] == "enhanced"


@pytest.mark.parametrize("name", OTHERS)
def test_a_result_of_another_format_is_named(world: World, deliver: ModuleType, name: str) -> None:
    outcome = run_delivery(world, deliver, result=OTHERS[name])["outcome"]

    assert outcome["code"] == "result_format_unsupported"
    assert f"The result is {name}," in outcome["message"]
    assert "upload" not in outcome["advice"]
    assert keys(world) == []


def test_a_photo_that_was_one_of_several_says_so(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request(pictures="animation", pixels=None))

    metadata = stored(world)["a/photo.jpg"]["Metadata"]
    assert metadata["source-pictures"] == "animation"
    assert "source-pixels" not in metadata


@pytest.mark.parametrize("body", NO_IMAGE.values(), ids=NO_IMAGE)
def test_a_result_that_is_not_an_image_is_refused(world: World, deliver: ModuleType, body: bytes) -> None:
    answer = run_delivery(world, deliver, result=body)

    assert answer["state"] == "failed"
    assert answer["outcome"]["code"] == "result_not_an_image"
    assert answer["outcome"]["may_have_cost"] is True
    assert keys(world) == []


def test_a_result_that_is_too_big_is_refused(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "MOST_RESULT_BYTES", len(JPEG) - 1)
    answer = run_delivery(world, deliver)

    assert answer["outcome"]["code"] == "result_refused"
    assert keys(world) == []


def test_a_slow_download_is_retried(world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "DOWNLOAD_SECONDS", -1)

    assert run_delivery(world, deliver)["state"] == "waiting"


STATUS_ANSWERS: dict[str, Reply] = {
    "running": Answer(200, {"status": "processing"}),
    "completed without a result": Answer(200, {"status": "completed", "results": None}),
    "failed after all": Answer(200, {"status": "failed"}),
    "404": refusal(404, "not_found"),
    "500": refusal(500, "server_error"),
    "401": refusal(401, "authentication_error"),
    "no connection": Broken(requests.ConnectionError("no"), sent=False),
}


@pytest.mark.parametrize("reply", STATUS_ANSWERS.values(), ids=STATUS_ANSWERS)
def test_without_a_fresh_link_the_state_is_waiting(world: World, deliver: ModuleType, reply: Reply) -> None:
    world.enhancer.on_status.append(reply)

    assert deliver.handler(request(), Context())["state"] == "waiting"
    assert world.enhancer.downloads == []


@pytest.mark.parametrize(
    "url",
    ["http://results.test/a.jpg", "ftp://results.test/a", "file:///etc/passwd", "https://u:p@results.test/", "no URL"],
)
def test_a_hostile_link_is_refused_and_not_logged(
    world: World, deliver: ModuleType, logs: io.StringIO, url: str
) -> None:
    world.enhancer.on_status.append(completed(url + "?result-token"))
    answer = deliver.handler(request(), Context())

    assert answer["state"] == "failed"
    assert answer["outcome"]["code"] == "result_refused"
    assert world.enhancer.downloads == []
    assert "result-token" not in str(answer) + logs.getvalue()


@pytest.mark.parametrize(
    "reply", [Answer(200, b"<html>Expired</html>"), Answer(302, b"", {"Location": "http://inside"}), Answer(410, b"")]
)
@pytest.mark.parametrize(("key", "body"), [("a.jpg", JPEG), ("a.jpg", PNG), ("a.heic", JPEG)])
def test_a_photo_delivered_by_an_earlier_run_counts_as_delivered(
    world: World, deliver: ModuleType, key: str, body: bytes, reply: Reply
) -> None:
    first = run_delivery(world, deliver, request(key), body)

    assert run_delivery(world, deliver, request(key), reply) == first


def test_a_photo_delivered_earlier_under_a_disambiguated_key_counts(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request("a.heic", version_id="other"))
    first = run_delivery(world, deliver, request("a.heic.jpg"))

    assert run_delivery(world, deliver, request("a.heic.jpg"), b"<html>Expired</html>") == first


def test_the_photo_of_another_upload_does_not_count_as_delivered(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request("a.jpg", version_id="other"))

    assert run_delivery(world, deliver, request("a.jpg"), b"<html>Expired</html>")["state"] == "failed"


def report_event(version_id: str, sequencer: str = "", key: str = "a.jpg", bucket: str = "input-bucket") -> Any:
    """The event that makes deliver write a report."""
    upload = request(key, version_id=version_id, sequencer=sequencer, bucket=bucket)["upload"]
    return {"correlation_id": "c" * 32, "report": {"status": "failed", "code": version_id, "upload": upload}}


def report(deliver: ModuleType, version_id: str, sequencer: str = "", **upload: str) -> str | None:
    answer = deliver.handler(report_event(version_id, sequencer, **upload), Context())
    key: str | None = answer["report_key"]
    return key


def reported(world: World) -> dict[str, str]:
    """The versions that the reports in the output bucket are about."""
    found = {key: one["Body"].read() for key, one in stored(world).items() if key.startswith("errors/")}
    return {key: msgspec.json.decode(body)["upload"]["version_id"] for key, body in found.items()}


def test_a_report_is_written(world: World, deliver: ModuleType) -> None:
    assert report(deliver, "v1") == "errors/a.jpg.json"

    written = stored(world)["errors/a.jpg.json"]
    assert written["ContentType"] == "application/json"
    assert msgspec.json.decode(written["Body"].read()) == report_event("v1")["report"]


def test_each_version_has_one_report_whose_key_does_not_change(world: World, deliver: ModuleType) -> None:
    first, second, third = report(deliver, "v1", OLDER), report(deliver, "v3", NEWER), report(deliver, "v2", MIDDLE)
    again = report(deliver, "v2", MIDDLE), report(deliver, "v1", OLDER), report(deliver, "v3", NEWER)

    assert first == "errors/a.jpg.json"
    assert again == (third, first, second)
    assert reported(world) == {first: "v1", second: "v3", third: "v2"}


def test_the_reports_of_two_buckets_are_kept_apart(world: World, deliver: ModuleType) -> None:
    report(deliver, "null", OLDER, bucket="one")
    report(deliver, "null", NEWER, bucket="two")
    run_delivery(world, deliver, request("a.jpg", bucket="two", version_id="null", sequencer=NEWER))

    assert reported(world) == {"errors/a.jpg.json": "null"}
    body = stored(world)["errors/a.jpg.json"]["Body"].read()
    assert msgspec.json.decode(body)["upload"]["bucket"] == "one"


def test_a_foreign_object_under_the_key_of_a_report_is_kept(world: World, deliver: ModuleType) -> None:
    world.s3.put_object(Bucket=OUTPUT, Key="errors/a.jpg.json", Body=b"foreign")
    key = report(deliver, "v1")
    run_delivery(world, deliver, request("a.jpg", version_id="v2", sequencer=NEWER))

    assert key not in (None, "errors/a.jpg.json")
    assert keys(world) == ["a.jpg", "errors/a.jpg.json"]
    assert stored(world)["errors/a.jpg.json"]["Body"].read() == b"foreign"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.heic", "x" * 1024])
def test_no_report_is_written_next_to_a_newer_photo(world: World, deliver: ModuleType, name: str) -> None:
    run_delivery(world, deliver, request(name, version_id="new", sequencer=NEWER))

    assert report(deliver, "old", OLDER, key=name) is None
    assert reported(world) == {}


def test_no_report_is_written_next_to_its_own_photo(world: World, deliver: ModuleType) -> None:
    """An upload that was unknown can be enhanced before the workflow of its first end has written the report."""
    run_delivery(world, deliver, request("a.jpg", version_id="v1", sequencer=NEWER))

    assert report(deliver, "v1", NEWER) is None
    assert reported(world) == {}


def test_a_report_next_to_an_older_photo_is_written(world: World, deliver: ModuleType) -> None:
    run_delivery(world, deliver, request("a.jpg", version_id="old", sequencer=OLDER))

    assert report(deliver, "new", NEWER) == "errors/a.jpg.json"


def test_a_photo_removes_the_reports_of_its_and_all_older_versions(world: World, deliver: ModuleType) -> None:
    report(deliver, "old", OLDER)
    report(deliver, "middle", MIDDLE)
    kept = report(deliver, "new", NEWER)
    other = report(deliver, "old", OLDER, key="a.jpg.json~0123456789ab.json")
    run_delivery(world, deliver, request("a.jpg", version_id="middle", sequencer=MIDDLE))

    assert reported(world) == {kept: "new", other: "old"}


@pytest.mark.parametrize("name", ["ü" * 512, "x" * 1010, "x" * 1000])
def test_reports_with_long_keys_are_kept_apart_and_removed(world: World, deliver: ModuleType, name: str) -> None:
    made = [report(deliver, "old", OLDER, key=name), report(deliver, "middle", MIDDLE, key=name)]
    assert len(reported(world)) == 2
    assert all(key and len(key.encode()) <= 1024 for key in made)
    run_delivery(world, deliver, request(name, version_id="new", sequencer=NEWER))

    assert reported(world) == {}


def test_the_order_of_the_versions_decides_without_sequencers(world: World, deliver: ModuleType) -> None:
    old, new = world.put("a.jpg"), world.put("a.jpg")
    report(deliver, old)
    run_delivery(world, deliver, request("a.jpg", version_id=new, sequencer=""))

    assert reported(world) == {}
    assert report(deliver, old) is None


def test_a_photo_that_is_delivered_while_its_older_report_is_written_wins(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_before_the_put(
        deliver,
        monkeypatch,
        lambda: run_delivery(world, deliver, request("a.jpg", version_id="new", sequencer=NEWER)),
    )

    assert report(deliver, "old", OLDER) is None
    assert keys(world) == ["a.jpg"]


def test_of_two_reports_that_race_neither_is_lost(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_before_the_put(deliver, monkeypatch, lambda: report(deliver, "v2", NEWER))
    report(deliver, "v1", OLDER)

    assert sorted(reported(world).values()) == ["v1", "v2"]


def test_a_report_that_is_replaced_meanwhile_is_kept(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(deliver, "v1", OLDER)
    delete = deliver.S3.delete_object

    def late(**arguments: Any) -> Any:
        body = msgspec.json.encode(report_event("v2", NEWER)["report"])
        world.s3.put_object(Bucket=OUTPUT, Key="errors/a.jpg.json", Body=body)
        return delete(**arguments)

    monkeypatch.setattr(deliver.S3, "delete_object", late)
    run_delivery(world, deliver, request("a.jpg", version_id="v1", sequencer=OLDER))

    assert reported(world) == {"errors/a.jpg.json": "v2"}


def test_a_report_that_cannot_be_written_is_an_error(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")

    monkeypatch.setattr(deliver.S3, "put_object", denied)
    with pytest.raises(ClientError):
        report(deliver, "v1")


NO_REPORTS = [
    b"",
    b"\xff",
    b"[]",
    b'{"upload": "v1"}',
    b" " * 200_000,
    b'{"a":' * 10_000,
    b'{"upload": {"bucket": "\xff"}}',
]


@pytest.mark.parametrize("body", NO_REPORTS, ids=lambda body: str(body[:20]))
def test_an_object_that_is_not_a_report_is_kept(world: World, deliver: ModuleType, body: bytes) -> None:
    world.s3.put_object(Bucket=OUTPUT, Key="errors/a.jpg.json", Body=body)

    assert run_delivery(world, deliver, request("a.jpg", version_id="v1"))["state"] == "enhanced"
    assert "errors/a.jpg.json" in keys(world)


def test_a_report_that_s3_does_not_hand_out_is_kept(world: World, deliver: ModuleType) -> None:
    """For example, because a lifecycle rule has archived it."""
    world.s3.put_object(Bucket=OUTPUT, Key="errors/a.jpg.json", Body=b"{}", StorageClass="GLACIER")

    assert run_delivery(world, deliver, request("a.jpg", version_id="v1"))["state"] == "enhanced"
    assert report(deliver, "v2", NEWER) not in (None, "errors/a.jpg.json")
    assert "errors/a.jpg.json" in keys(world)


def test_redirects_are_followed_without_the_key(world: World, deliver: ModuleType) -> None:
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(302, b"", {"Location": "/b.jpg?result-token"}))
    answer = deliver.handler(request(), Context())

    assert answer["state"] == "enhanced"
    assert [str(one.url) for one in world.enhancer.downloads] == [RESULT_URL, "https://results.test/b.jpg?result-token"]


def test_endless_redirects_are_refused(world: World, deliver: ModuleType) -> None:
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.extend([Answer(302, b"", {"Location": RESULT_URL})] * 20)
    answer = deliver.handler(request(), Context())

    assert answer["outcome"]["code"] == "result_refused"
    assert len(world.enhancer.downloads) <= 6


def test_nothing_is_left_on_disk(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A warm function keeps its disk, which is small."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_delivery(world, deliver)
    run_delivery(world, deliver, result=b"<html>")
    run_delivery(world, deliver, result=Answer(200, JPEG, {"Content-Length": "9999"}))

    assert list(tmp_path.iterdir()) == []
