"""Fetching pictures: what is dialled, and what is not."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest

from unbraid.serve.http.errors import ApiError
from unbraid.serve.requests import remote_image as remote


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255 ::1 :: "
    "fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 2002:7f00:1:: 2002:a00:1:: 64:ff9b::7f00:1 "
    "64:ff9b::a9fe:a9fe 2001:db8::1 198.18.0.1".split(),
)
def test_addresses_of_ones_own_network_are_not_public(address):
    assert not remote.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet_are(address):
    assert remote.is_public(address)


@pytest.mark.parametrize(
    "url",
    "http://example.com/a.png https:// https://user@example.com/ https://user:x@example.com/ file:///etc/passwd "
    "https://127.0.0.1/ https://[::1]/ https://2130706433/ https://0x7f.1/ https://localhost/ https://exa\u00dfmple.com/ "
    "https://example.com:99999/ https://[/ ftp://example.com https://[::ffff:10.0.0.1]/x gopher://x https://a\r\nb/".split(
        " "
    ),
)
def test_what_does_not_lead_to_a_public_host_by_https_is_refused(url):
    with pytest.raises(ApiError) as refusal:
        asyncio.run(remote.fetch(url, 100))
    assert (refusal.value.status, refusal.value.code) == (400, "picture_not_fetched")


def test_a_host_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    def answer(host, port, **_):
        return [(None, None, None, "", (ip, port)) for ip in ("93.184.216.34", "10.0.0.1")]

    with pytest.raises(ApiError, match="not a public one"):
        asyncio.run(with_names(answer, monkeypatch, remote.resolve("https://example.com/a")))


async def with_names(answer, monkeypatch, work):
    async def getaddrinfo(host, port, **options):
        return answer(host, port, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return await work


# -- a host of our own, which counts as public for the test ---------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 1 -subj /CN=pictures.test"
    )
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:pictures.test"], capture_output=True, check=True
    )
    return key, cert


def ask(certificate, monkeypatch, answers, *, most=1000, host="pictures.test", public=("127.0.0.1",)):
    """What `fetch` makes of a host that gives `answers`, and which names were looked up."""
    key, cert = certificate
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)
    looked_up = []
    plain = remote.is_public
    monkeypatch.setattr(remote, "is_public", lambda address: address in public or plain(address))

    async def main():
        left = list(answers)

        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(left.pop(0))
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        plain_names = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(name, number, **options):
            if name == host:
                looked_up.append(name)
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", number))]
            return await plain_names(name, number, **options)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        left[:] = [one.replace(b"PORT", b"%d" % port) for one in left]
        try:
            return await remote.fetch(
                f"https://{host}:{port}/a.png?b=c", most, ssl.create_default_context(cafile=cert)
            )
        finally:
            server.close()
            await asyncio.sleep(0.01)

    return asyncio.run(main()), looked_up


def said(status, body=b"", *headers):
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers, b"", body])


def test_a_picture_is_fetched_from_the_address_that_was_checked(certificate, monkeypatch):
    content, looked_up = ask(certificate, monkeypatch, [said(200, b"picture")])
    assert content == b"picture" and looked_up == ["pictures.test"]


def test_a_redirect_is_followed_and_looked_up_again(certificate, monkeypatch):
    answers = [said(302, b"", b"Location: /other.png"), said(200, b"picture")]
    content, looked_up = ask(certificate, monkeypatch, answers)
    assert content == b"picture" and len(looked_up) == 2


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([said(302, b"", b"Location: https://127.0.0.2/")], "public"),
        ([said(302, b"", b"Location: https://169.254.169.254/latest/meta-data")], "public"),
        ([said(302, b"", b"Location: http://pictures.test/")], "https"),
        ([said(302, b"", b"Location: /again")] * 4, "redirects"),
        ([said(404, b"secret")], "404"),
        ([said(200, b"x" * 1001)], "over"),
        (
            [b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n"],
            "answer",
        ),
        ([b"nonsense\r\n\r\n"], "answer"),
        ([b""], "answer"),
    ],
)
def test_hosts_that_lead_astray_are_refused(certificate, monkeypatch, answers, why):
    with pytest.raises(ApiError, match=why) as refusal:
        ask(certificate, monkeypatch, answers)
    assert "secret" not in str(refusal.value)


def test_a_certificate_of_another_name_is_refused(certificate, monkeypatch):
    with pytest.raises(ApiError, match="SSLCertVerificationError"):
        ask(certificate, monkeypatch, [said(200, b"picture")], host="other.test")
