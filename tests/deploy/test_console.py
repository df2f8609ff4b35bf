"""The link that opens AWS's console with the uploaded template."""

from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from lumendrop_cli.artifact_bucket import url_of
from lumendrop_cli.console import creation_url
from lumendrop_cli.stack import Account


def account(region: str, endpoint: str | None = None) -> Account:
    credentials = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    s3 = boto3.client("s3", region_name=region, endpoint_url=endpoint, **credentials)
    return Account("123456789012", region, s3.meta.partition, lambda _: s3)


@pytest.mark.parametrize(
    ("region", "console", "template"),
    [
        ("us-east-1", "console.aws.amazon.com", "https://s3.amazonaws.com/mine/a.json"),
        ("eu-central-1", "console.aws.amazon.com", "https://s3.eu-central-1.amazonaws.com/mine/a.json"),
        ("cn-north-1", "console.amazonaws.cn", "https://s3.cn-north-1.amazonaws.com.cn/mine/a.json"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com", "https://s3.us-gov-west-1.amazonaws.com/mine/a.json"),
    ],
)
def test_the_link_opens_the_console_of_the_partition(region: str, console: str, template: str) -> None:
    found = account(region)
    url = creation_url(
        found, "photos", f"{url_of(found, 'mine')}/a.json", {"InputPrefix": "a&b #1/", "Resolution": "1K"}
    )
    assert url is not None
    assert url.isascii()
    assert " " not in url
    opened = urlsplit(url)
    assert (opened.scheme, opened.netloc, opened.path) == ("https", f"{region}.{console}", "/cloudformation/home")
    assert opened.query == f"region={region}"
    page, _, shown = opened.fragment.partition("?")
    assert page == "/stacks/create/review"
    assert parse_qs(shown, strict_parsing=True) == {
        "templateURL": [template],
        "stackName": ["photos"],
        "param_InputPrefix": ["a&b #1/"],
        "param_Resolution": ["1K"],
    }


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "us-gov-west-1"])
@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_cloudformation_gets_the_usual_host(monkeypatch: pytest.MonkeyPatch, region: str, variable: str) -> None:
    monkeypatch.setenv(variable, "true")
    other = account(region)
    assert "fips" in other.client("s3").meta.endpoint_url or "dualstack" in other.client("s3").meta.endpoint_url
    assert url_of(other, "mine") in (f"https://s3.{region}.amazonaws.com/mine", "https://s3.amazonaws.com/mine")


@pytest.mark.parametrize(
    ("region", "endpoint"), [("us-iso-east-1", None), ("us-east-1", "http://127.0.0.1:4566")], ids=["unknown", "local"]
)
def test_there_is_no_link_without_a_console(region: str, endpoint: str | None) -> None:
    found = account(region, endpoint)
    assert creation_url(found, "photos", f"{url_of(found, 'mine')}/a.json", {}) is None
