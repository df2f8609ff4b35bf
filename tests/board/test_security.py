"""Who can use the board: its own page in a browser that has the token. Each attack is refused and changes nothing."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop_cli.board import access
from lumendrop_cli.errors import CliError
from tests.board.fakes import TOKEN, Client, FakeStack, running_board

Headers = list[tuple[str, str]]

ROOT = Path(__file__).parents[2]
ACTION = b'{"action": "pause"}'
UPLOAD = "/api/uploads?name=a.jpg"
PLAN = json.dumps({"photos": json.dumps([[1, "", "a.jpg"]] * 2001)}).encode()


@dataclass(frozen=True)
class Attack:
    """A request that must be refused with one of these statuses. `headers` changes those of the board's own page."""

    name: str
    statuses: tuple[int, ...]
    method: str = "GET"
    target: str = "/api/config"
    headers: Callable[[Headers, Client], Headers] = lambda headers, _: headers
    body: bytes = b""


def with_(**values: str | None) -> Callable[[Headers, Client], Headers]:
    """Replaces headers; None removes one."""
    names = {name.replace("_", "-").lower(): value for name, value in values.items()}

    def change(headers: Headers, _: Client) -> Headers:
        kept = [(name, value) for name, value in headers if name.lower() not in names]
        return kept + [(name, value) for name, value in names.items() if value is not None]

    return change


def and_(name: str, value: str) -> Callable[[Headers, Client], Headers]:
    """Adds a header, even if it is there."""
    return lambda headers, _: [*headers, (name, value)]


def host(template: str) -> Callable[[Headers, Client], Headers]:
    return lambda headers, client: [*headers, ("Host", template.format(port=client.port))]


def origin(template: str) -> Callable[[Headers, Client], Headers]:
    return lambda headers, client: with_(origin=template.format(port=client.port))(headers, client)


def post(name: str, statuses: tuple[int, ...], headers: Any = lambda headers, _: headers, **more: Any) -> Attack:
    """A POST that would pause the stack."""
    more = {"target": "/api/actions", "body": ACTION} | more
    return Attack(name, statuses, "POST", headers=headers, **more)


ATTACKS = [
    # DNS rebinding: a name of the attacker's leads to this machine.
    Attack("foreign host", (421,), headers=host("evil.example:{port}")),
    Attack("foreign host without port", (421,), headers=host("evil.example")),
    Attack("host of another port", (421,), headers=host("127.0.0.1:1")),
    Attack("host without port", (421,), headers=host("127.0.0.1")),
    Attack("host with user", (421,), headers=host("127.0.0.1:{port}@evil.example")),
    Attack("host with prefix", (421,), headers=host("127.0.0.1.evil.example:{port}")),
    Attack("host of all interfaces", (421,), headers=host("0.0.0.0:{port}")),
    Attack("host in other notation", (421,), headers=host("2130706433:{port}")),
    Attack("empty host", (400, 421), headers=host("")),
    Attack("two hosts", (400,), headers=lambda headers, client: [*headers, ("Host", client.host), ("Host", "evil")]),
    Attack("absolute target", (400, 404, 421), target="http://evil.example/api/config", headers=host("evil.example")),
    # Other pages of the same browser.
    post("post of another site", (403,), origin("https://evil.example")),
    post("post of another port", (403,), origin("http://127.0.0.1:1")),
    post("post of another scheme", (403,), origin("https://127.0.0.1:{port}")),
    post("post of the other name", (403,), origin("http://localhost:{port}")),
    post("post of a sandboxed frame", (403,), origin("null")),
    post("post with a suffixed origin", (403,), origin("http://127.0.0.1:{port}.evil.example")),
    post("post without origin", (403,), with_(origin=None)),
    post("post with two origins", (400,), and_("Origin", "https://evil.example")),
    post("post of another site without origin", (403,), with_(origin=None, sec_fetch_site="cross-site")),
    post("post that says cross-site", (403,), with_(sec_fetch_site="cross-site")),
    post("post of another port of this machine", (403,), with_(sec_fetch_site="same-site")),
    Attack("read of another site", (403,), headers=with_(origin="https://evil.example")),
    Attack("image of another site", (403,), headers=with_(origin=None, sec_fetch_site="cross-site")),
    Attack("script of another port", (403,), target="/main.js", headers=with_(origin=None, sec_fetch_site="same-site")),
    Attack("events of another site", (403,), target="/api/events", headers=with_(origin="https://evil.example")),
    Attack("preflight", (403, 405), "OPTIONS", "/api/actions", with_(origin="https://evil.example")),
    # Forms of other pages, which browsers send without asking.
    post("form", (415,), with_(content_type="application/x-www-form-urlencoded")),
    post("form with files", (415,), with_(content_type="multipart/form-data; boundary=x")),
    post("plain text", (415,), with_(content_type="text/plain")),
    post("json with parameters", (415,), with_(content_type="application/json; charset=utf-8")),
    post("no content type", (415,), with_(content_type=None)),
    post("upload as a form", (415,), with_(content_type="text/plain"), target=UPLOAD),
    # No token, or another one.
    Attack("no cookie", (401,), headers=with_(cookie=None)),
    Attack("another cookie", (401,), headers=with_(cookie="lumendrop-board=1")),
    Attack(
        "the cookie of another board", (401,), headers=lambda h, c: with_(cookie=f"lumendrop-board-{c.port}=1")(h, c)
    ),
    Attack("the token as cookie", (401,), headers=lambda h, c: with_(cookie=f"lumendrop-board-{c.port}={TOKEN}")(h, c)),
    Attack("two cookies", (400,), headers=and_("Cookie", "a=b")),
    Attack("a cookie with control characters", (400, 401), headers=with_(cookie="a=\x01;")),
    Attack("wrong token", (401,), target="/?token=guess", headers=with_(cookie=None)),
    Attack("empty token", (401,), target="/?token=", headers=with_(cookie=None)),
    Attack("two tokens", (401,), target=f"/?token={TOKEN}&token=guess", headers=with_(cookie=None)),
    Attack("token in another path", (401,), target=f"/api/config?token={TOKEN}", headers=with_(cookie=None)),
    Attack("token with another method", (401, 403), "POST", f"/?token={TOKEN}", with_(cookie=None)),
    Attack("token in another case", (401,), target=f"/?token={TOKEN.upper()}", headers=with_(cookie=None)),
    Attack("token as header", (401,), headers=with_(cookie=None, authorization=f"Bearer {TOKEN}")),
    Attack("page without cookie", (401,), target="/", headers=with_(cookie=None)),
    post("post without cookie", (401,), with_(cookie=None)),
    # Methods, lengths, and paths.
    Attack("trace", (405,), "TRACE"),
    Attack("put", (405,), "PUT", "/api/uploads?name=a.jpg"),
    Attack("delete", (405,), "DELETE"),
    Attack("head", (405,), "HEAD"),
    Attack("action by GET", (405,), target="/api/actions?action=pause"),
    Attack(
        "websocket",
        (400, 401, 403, 404, 405),
        target="/api/events2",
        headers=with_(connection="Upgrade", upgrade="websocket"),
    ),
    post("chunked body", (400, 411), with_(content_length=None, transfer_encoding="chunked"), body=b"0\r\n\r\n"),
    post("two kinds of length", (400,), and_("Transfer-Encoding", "chunked")),
    post("huge body", (413,), with_(content_length=str(10**9)), body=b"{}"),
    post(
        "huge upload", (400,), with_(content_type="application/octet-stream", content_length=str(10**12)), target=UPLOAD
    ),
    Attack("path outside", (404,), target="/../../../etc/passwd"),
    Attack("encoded path outside", (404,), target="/%2e%2e/%2e%2e/etc/passwd"),
    Attack("file of the package", (404,), target="/..%2fserver.py"),
    Attack("double slash", (404,), target="//evil.example/main.js"),
    Attack("path with a null byte", (404,), target="/main.js%00"),
    Attack("path with a slash at the end", (404,), target="/api/config/"),
    Attack("path with a backslash", (404,), target="/..%5cserver.py"),
    Attack("path of a folder", (404,), target="/static/main.js"),
    Attack("path with a header", (404,), target="/main.js%0d%0aSet-Cookie:%20a=b"),
    Attack("download with a header in its key", (400,), target="/media?key=a%0d%0aX:1&version=1&side=x&download"),
    Attack("key of bytes that are no text", (400,), target="/media?key=%ff%fe&version=1&side=x"),
    Attack("search with a header in its day", (400,), target="/api/search?day=%0d%0aX:1"),
    Attack("many fields", (400,), target="/?" + "a=1&" * 5000),
    # Requests of the page with hostile values.
    post("unknown action", (400,), body=b'{"action": "destroy"}'),
    post("action of the class", (400,), body=b'{"action": "__class__"}'),
    post("no object", (400,), body=b'["pause"]'),
    post("nested values", (400,), body=b'{"action": {"a": "pause"}}'),
    post("deep nesting", (400,), body=b"[" * 100_000),
    post("not json", (400,), body=b"\xff\xfe"),
    post("retry without key", (400,), body=b'{"action": "retry", "key": "", "version": "1"}'),
    post("wrong confirmation", (200,), body=b'{"action": "pause", "confirmed": "yes"}'),
    post("upload without name", (400,), with_(content_type="application/octet-stream"), target="/api/uploads"),
    post("upload of a folder", (400,), with_(content_type="application/octet-stream"), target="/api/uploads?name=a/"),
    post(
        "upload with a bad option",
        (400,),
        with_(content_type="application/octet-stream"),
        target=f"{UPLOAD}&resolution=8K",
    ),
    post(
        "upload with a header in an option",
        (400,),
        with_(content_type="application/octet-stream"),
        target=f"{UPLOAD}&metadata=keep%0d%0aX-A:1",
    ),
    post(
        "upload with a long key",
        (400,),
        with_(content_type="application/octet-stream"),
        target=f"/api/uploads?name={'a' * 1025}",
    ),
    post(
        "upload of a hidden file",
        (400,),
        with_(content_type="application/octet-stream"),
        target="/api/uploads?name=.ssh/id_rsa",
    ),
    post(
        "upload of an incomplete file",
        (400,),
        with_(content_type="application/octet-stream"),
        target="/api/uploads?name=a.jpg.part",
    ),
    post(
        "upload that SQS would refuse",
        (400,),
        with_(content_type="application/octet-stream"),
        target="/api/uploads?name=%ef%bf%be.jpg",
    ),
    post("plan of no photos", (400,), target="/api/plan", body=b'{"photos": "[[1]]"}'),
    post("plan of too many photos", (400,), target="/api/plan", body=PLAN),
    post("plan with a bad option", (400,), target="/api/plan", body=b'{"photos": "[]", "resolution": "8K"}'),
    Attack("another bucket", (400, 404), target="/media?bucket=other&side=after"),
    Attack("no upload", (400,), target="/media?side=before"),
    Attack("a long version", (400,), target=f"/media?key=a&version={'1' * 2000}&side=before"),
]


@pytest.fixture(scope="module")
def attacked() -> Any:
    """One board for all attacks, and its stack."""
    stack = FakeStack()
    with running_board(stack) as client:
        yield client, stack


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_and_changes_nothing(attack: Attack, attacked: tuple[Client, FakeStack]) -> None:
    client, stack = attacked
    headers = client.page()
    if attack.body or attack.method == "POST":
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(attack.body)))]
    before = stack.calls
    answer = client.send(attack.method, attack.target, attack.headers(headers, client), attack.body)
    assert answer.status in attack.statuses, answer.text
    assert stack.calls == before
    assert TOKEN not in answer.text
    assert "set-cookie" not in answer.headers
    assert "Traceback" not in answer.text


def test_there_are_enough_attacks() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 30


def test_the_board_listens_on_the_loopback_interface_only(board: Client) -> None:
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {
        "127.0.0.1"
    }:
        with pytest.raises(OSError), socket.create_connection((str(address), board.port), timeout=2):
            pass


def test_the_printed_address_opens_the_page_and_sets_a_strict_cookie(board: Client) -> None:
    answer = board.send("GET", f"/?token={TOKEN}")
    assert answer.status == 200
    assert answer.headers["refresh"] == "0; url=/"
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    assert board.send("GET", "/favicon.ico", [("Cookie", board.cookie())]).status == 200
    page = board.send("GET", "/", [("Cookie", board.cookie())])
    assert (page.status, "<title>Lumendrop</title>" in page.text) == (200, True)


def test_every_answer_has_the_security_headers(board: Client) -> None:
    for answer in (
        board.send("GET", "/", board.page()),
        board.send("GET", "/nothing", board.page()),
        board.send("GET", "/"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_read_only_board_has_no_write_routes(stack: FakeStack) -> None:
    with running_board(stack, read_only=True) as board:
        for target, kind in (("/api/actions", "application/json"), (UPLOAD, "application/octet-stream")):
            assert board.post(target, ACTION, kind).status == 404
        assert board.post("/api/plan", b"{}").status == 404
        assert '"read_only":true' in board.send("GET", "/api/config", board.page()).text


WRITES = ["PutObject", "DeleteObject", "SendMessage", "StartExecution", "StopExecution", "UpdateEventSourceMapping"]


@pytest.mark.parametrize(
    ("operation", "read_only"),
    [
        *((one, True) for one in WRITES),
        ("GetSecretValue", False),
        ("DeleteObject", False),
        ("DeleteTable", False),
        ("PutItem", False),
        ("UpdateItem", False),
    ],
)
def test_other_operations_of_aws_fail_before_they_are_sent(operation: str, read_only: bool) -> None:
    checks: list[Any] = []
    stack = SimpleNamespace(on_call=checks.append, client=lambda _: None)
    access.restrict(stack, read_only=read_only)  # type: ignore[arg-type]
    service = SimpleNamespace(service_id="S3" if "Object" in operation else "SQS" if "Send" in operation else "SFN")
    with pytest.raises(CliError):
        checks[0](SimpleNamespace(service_model=service, name=operation))


def test_a_read_only_board_does_not_load_the_code_that_writes() -> None:
    script = (
        "import sys; from tests.board.fakes import FakeStack, OPTIONS;"
        "from lumendrop_cli.board.server import create_app;"
        "create_app(FakeStack(), OPTIONS, 1, 't', read_only=True);"
        "modules = {f'lumendrop_cli.board.{name}' for name in ('actions', 'uploads', 'write_routes')};"
        "print(sorted(modules & set(sys.modules)))"
    )
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    found = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
