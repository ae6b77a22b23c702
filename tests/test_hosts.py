"""Which machines the platform may speak to, with resolvers that lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushpoint import git, hosts
from pushpoint.addresses import is_public
from pushpoint.errors import ConfigError, Refused
from pushpoint.names import repository_url
from tests.githost import GitHost

URL = repository_url("https://git.example/team/code.git")
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "93.184.216.34"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1"),
    *("203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *(
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
    ),
    *("2001::1", "2001:db8::1", "fe80::1", "fe80::1%lo", "fec0::1", "fd00:ec2::254", "ff02::1", "", "x", "127.1"),
]


def answering(addresses: list[str]) -> hosts.Lookup:
    return lambda host, port: addresses


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_alone_and_among_public_ones(address: str) -> None:
    assert not is_public(address)
    for found in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        with pytest.raises(Refused, match=r"no address on the public internet.*--git-host git\.example"):
            hosts.pin(URL, frozenset(), answering(found))


def test_a_host_that_is_not_there_and_one_that_is_private_look_the_same() -> None:
    said = set()
    for found in ([], ["10.0.0.1"]):
        with pytest.raises(Refused) as caught:
            hosts.pin(URL, frozenset(), answering(found))
        said.add(str(caught.value))
    assert len(said) == 1


def test_the_name_is_looked_up_once_and_what_was_found_is_what_counts() -> None:
    answers = [["8.8.8.8", "2606:4700::1111"], ["127.0.0.1"]]
    assert hosts.pin(URL, frozenset(), lambda host, port: answers.pop(0)) == "git.example:443:8.8.8.8,[2606:4700::1111]"
    assert answers == [["127.0.0.1"]]


def test_git_goes_where_it_is_pinned_and_asks_no_resolver(tmp_path: Path) -> None:
    """The name has no address at all, so whoever arrives was told one."""
    with GitHost(tmp_path / "host") as host:
        host.create("team/code", {"a": "1"}, public=True)
        port = host.address.partition(":")[2]
        url = f"http://git.invalid:{port}/team/code.git"
        pinned = git.Remote(url, "", "", more=(("http.curloptResolve", f"git.invalid:{port}:127.0.0.1"),))
        assert host.tip("team/code").encode() in git.run(["ls-remote", url], remote=pinned)
        assert "git.invalid" in host.requests[0].headers["host"]


@pytest.mark.parametrize(
    ("listed", "url", "is_listed"),
    [
        ("git.example", "http://git.example/a/b", True),
        ("git.example", "http://git.example:3000/a/b", True),
        ("GIT.example:3000", "http://git.example:3000/a/b", True),
        ("git.example:3000", "http://git.example/a/b", False),
        ("git.example", "http://git.example.evil/a/b", False),
        ("git.example", "http://sub.git.example/a/b", False),
        ("[::1]", "http://[::1]:3000/a/b", True),
        ("[::1]:3000", "http://[0::1]:3000/a/b", True),
        ("127.0.0.1", "http://127.0.0.1/a/b", True),
    ],
)
def test_what_the_operator_lists_is_not_looked_up(listed: str, url: str, is_listed: bool) -> None:
    found = frozenset({hosts.check_listed(listed)})
    assert hosts.is_listed(repository_url(url), found) is is_listed
    if is_listed:
        assert hosts.pin(repository_url(url), found, lambda host, port: pytest.fail("it was looked up")) is None


@pytest.mark.parametrize("text", ["", "https://git.example", "git.example/x", "a b", "git.example:x", "*"])
def test_an_entry_of_the_list_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--git-host HOST"):
        hosts.check_listed(text)


def test_without_tls_only_listed_hosts_are_spoken_to() -> None:
    with pytest.raises(Refused, match="without TLS"):
        hosts.pin(repository_url("http://git.example/a/b"), frozenset(), lambda host, port: ["8.8.8.8"])
