"""Where a provider may lead: the rules, and that both transports keep them at connect time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from api.services.addresses import Reach, literal_address, reach_of
from api.services.aiohttp_transport import AiohttpTransport
from api.services.pool import PoolTransport
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport, WireRequest
from tests.api.http import chat, say
from tests.fake_upstream import FakeUpstream, Redirect
from tests.live_server import LiveServer
from tests.security.conftest import run_in_shell, wait_for_config
from tests.transport.raw_server import Peer, RawServer, keep_answering, reply

TIMEOUTS = Timeouts(connect=3.0, headers=3.0, first_token=3.0, idle=3.0, total=3.0)

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::ffff:0:169.254.169.254",
    "::ffff:100.100.100.200",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "2001:db8::5efe:169.254.169.254",
    "::ffff:0.0.0.0",
    "not-an-address",
    "300.1.1.1",
]

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "203.0.113.9",
    "::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::192.168.0.1",
    "2002:7f00:1::1",
    "2002:c0a8:101::",
    "::ffff:0:10.0.0.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "169.253.1.1",
    "104.18.7.192",
    "2606:4700::6812:7c0",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::8.8.8.8",
    "::ffff:1.1.1.1",
    "2002:808:808::1",
]


@pytest.mark.parametrize("ip", NEVER)
def test_no_provider_may_have_such_an_address(ip: str) -> None:
    assert reach_of(ip) is Reach.NEVER


@pytest.mark.parametrize("ip", PRIVATE)
def test_such_an_address_needs_the_operator_s_leave(ip: str) -> None:
    assert reach_of(ip) is Reach.PRIVATE


@pytest.mark.parametrize("ip", PUBLIC)
def test_such_an_address_is_anybody_s(ip: str) -> None:
    assert reach_of(ip) is Reach.PUBLIC


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("::1", "::1"),
        ("localhost", None),
        ("api.example.com", None),
        ("1.2.3.4.example.com", None),
        ("", None),
    ],
)
def test_an_address_is_known_in_all_its_spellings(host: str, ip: str | None) -> None:
    assert literal_address(host) == ip


# Over real sockets.

KINDS: dict[str, Callable[[], Transport]] = {"pool": PoolTransport, "aiohttp": AiohttpTransport}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest_asyncio.fixture(params=KINDS)
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    made = KINDS[request.param]()
    yield made
    await made.close()


async def _send(transport: Transport, url: str, *, allows_private: bool = False) -> bytes:
    request = WireRequest(url, {}, b"{}", allows_private=allows_private)
    response = await transport.send(request, TIMEOUTS)
    try:
        return await response.read(1000)
    finally:
        await response.close()


async def _refusal(transport: Transport, url: str, *, allows_private: bool = False) -> Failure:
    with pytest.raises(Failure) as caught:
        await _send(transport, url, allows_private=allows_private)
    failure = caught.value
    assert failure.kind is FailureKind.PROVIDER_NOT_CONFIGURED
    assert failure.status == 503
    assert failure.should_retry is False
    return failure


LOOPBACK_SPELLINGS = ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]")


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
async def test_a_private_server_is_not_dialled_without_leave(transport: Transport, host: str) -> None:
    """Spelled as an address, in the old shorthands, or as a name that resolves to one."""
    async with RawServer(keep_answering) as server:
        failure = await _refusal(transport, f"http://{host}:{server.port}/")
        assert "private network" in failure.message
        assert "127.0.0.1" not in failure.message
        assert server.accepted == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_with_leave_it_is(transport: Transport, host: str) -> None:
    async with RawServer(keep_answering) as server:
        url = f"http://{host}:{server.port}/"
        assert await _send(transport, url, allows_private=True) == b"ok"


@pytest.mark.parametrize("allows_private", [False, True], ids=["plain", "private ticked"])
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "100.100.100.200",
        "0.0.0.0",
        "[::]",
        "0",
        "224.0.0.1",
    ],
)
async def test_a_metadata_service_is_never_dialled(
    transport: Transport, host: str, allows_private: bool
) -> None:
    failure = await _refusal(transport, f"http://{host}/latest/meta-data/", allows_private=allows_private)
    assert host.strip("[]") not in failure.message.split()


async def test_a_connection_is_not_shared_with_a_provider_that_may_not_have_it(transport: Transport) -> None:
    async with RawServer(keep_answering) as server:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{server.port}/"
            assert await _send(transport, url, allows_private=True) == b"ok"
            await _refusal(transport, url)
            accepted = server.accepted
            assert await _send(transport, url, allows_private=True) == b"ok"
            assert server.accepted == accepted, "the kept connection was not used again"


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The system's lookups of some names, each with its answers in turn; the last one stays."""
    names: dict[str, list[list[str]]] = {}
    system = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        answers = names.get(host)
        if answers is None:
            return system(host, port, *args, **options)
        ips = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (ip, port, 0, 0) if ":" in ip else (ip, port),
            )
            for ip in ips
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


async def test_a_name_with_one_good_and_one_bad_address_is_refused(
    transport: Transport, name_server: dict[str, list[list[str]]]
) -> None:
    name_server["mixed.test"] = [["127.0.0.1", "169.254.169.254"]]
    async with RawServer(keep_answering) as server:
        await _refusal(transport, f"http://mixed.test:{server.port}/", allows_private=True)
        assert server.accepted == 0


async def test_a_name_that_is_rebound_after_the_check_gains_nothing(
    transport: Transport, name_server: dict[str, list[list[str]]]
) -> None:
    """Each lookup that is dialled was judged: whichever answer is served, nobody connects to the bad one."""
    name_server["rebound.test"] = [["192.0.2.1"], ["127.0.0.1"]]
    async with RawServer(keep_answering) as server:
        for _ in range(3):
            await _refusal(transport, f"http://rebound.test:{server.port}/")
        assert server.accepted == 0
        assert name_server["rebound.test"] == [["127.0.0.1"]], "the name was not looked up a second time"


async def test_behind_a_proxy_an_address_is_judged_and_the_proxy_s_own_is_not(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(reply(b"by proxy"))

    async with RawServer(serve) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for host in ("127.0.0.1", "127.1", "169.254.169.254", "[::1]"):
            await _refusal(transport, f"http://{host}:9/")
        assert proxy.accepted == 0
        assert await _send(transport, "http://upstream.test/") == b"by proxy"


# The whole way: the tick in the admin is what decides.


@pytest.fixture(params=["pool", "aiohttp"])
def own_server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with LiveServer({"UPSTREAM_CLIENT": request.param}) as server:
        yield server


_ADD = """
from routing.models import ConfigVersion, Deployment, Provider, ServedModel
for number, url in enumerate({urls!r}):
    provider = Provider.objects.create(
        name=f"local-{{number}}", kind="openai_compatible", base_url=url, requires_key=False
    )
    model = ServedModel.objects.create(public_id=f"local-{{number}}")
    Deployment.objects.create(model=model, provider=provider, upstream_id="gpt-4o-mini")
print(ConfigVersion.objects.get().version)
"""
_TICK = """
from routing.models import ConfigVersion, Provider
Provider.objects.filter(name__startswith="local").update(allows_private_network=True)
print(ConfigVersion.objects.get().version)
"""


def test_an_operator_s_tick_opens_the_private_network_and_never_the_metadata_service(
    own_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.accept_key = lambda key: True
    urls = [
        upstream.openai_url,
        upstream.openai_url.replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/v1",
    ]
    wait_for_config(own_server, int(run_in_shell(own_server, _ADD.format(urls=urls))))
    for number in range(3):
        for stream in (False, True):
            answer = chat(own_server.url, say(f"local-{number}", stream=stream))
            assert answer.status == 503
            assert answer.error["code"] == "provider_not_configured"
            assert answer.headers["x-should-retry"] == "false"
            assert "127.0.0.1" not in answer.error["message"]
            assert "169.254" not in answer.error["message"]
    assert upstream.requests == []
    wait_for_config(own_server, int(run_in_shell(own_server, _TICK)))
    for number in range(2):
        # Its key is none, so that the imitated API refuses: it was reached, and that is all.
        assert chat(own_server.url, say(f"local-{number}")).error["code"] != "provider_not_configured"
    assert len(upstream.requests) == 2
    assert chat(own_server.url, say("local-2")).error["code"] == "provider_not_configured"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: LiveServer, upstream: FakeUpstream, status: int) -> None:
    """Neither with the credential nor without: the one request is all that anybody gets."""
    for model, path in (("gpt-4o-mini", "/openai"), ("claude-sonnet-4", "/anthropic")):
        upstream.script(Redirect(f"{upstream.url}/elsewhere", status), path=path)
        answer = chat(server.url, say(model))
        assert answer.status == 502, answer.body
        assert "location" not in answer.headers
        assert "elsewhere" not in answer.body.decode()
    assert [request.path for request in upstream.requests] == [
        "/openai/v1/chat/completions",
        "/anthropic/v1/messages",
    ]


def test_what_is_never_dialled_costs_no_time() -> None:
    """A refusal is a matter of looking: nobody waits for a connection to time out."""

    async def refuse() -> float:
        transport = PoolTransport()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await _refusal(transport, "http://169.254.169.254/")
        await transport.close()
        return loop.time() - began

    assert asyncio.run(refuse()) < 1.0
