"""Promise 37: whatever is pushed, asked for or cut off, no hook runs, nothing is written outside the repository, memory
is bounded, and other tenants' repositories look absent. What was run and written is the kernel's word, not ours."""

from __future__ import annotations

import base64
import gzip
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushpoint.packets import FLUSH, NOTHING, packet
from tests.githost import Fault, GitHost
from tests.promises import packs
from tests.promises.attack import Attack, attacked, watched
from tests.promises.kernel import Trace, needed
from tests.promises.packs import BLOB, COMMIT, REF_DELTA, TAG, TREE, entry, object_id, pack, push, tree
from tests.web.support import JSON, address, ask, create, run_git

CODE = b"def apply(input):\n    return input\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    needed()
    with attacked(tmp_path_factory.mktemp("attacked")) as found:
        yield found


@pytest.fixture
def attack(running: Attack) -> Iterator[Attack]:
    with watched(running):
        yield running


def commit_of(name: str, head: str, *entries: tuple[str, bytes, str], objects: list[bytes]) -> tuple[str, bytes]:
    """Make a commit that can be built, with more entries at its top; return it and the push of it."""
    code, inner = object_id(BLOB, CODE), tree(("100644", f"{name}.py".encode(), object_id(BLOB, CODE)))
    assert code
    top = tree(*sorted([*entries, ("40000", b"src", object_id(TREE, inner))], key=lambda one: one[1]))
    made = packs.commit(object_id(TREE, top), head)
    wanted = [entry(BLOB, CODE), entry(TREE, inner), entry(TREE, top), entry(COMMIT, made), *objects]
    return object_id(COMMIT, made), push(head, object_id(COMMIT, made), pack(wanted))


def test_the_trace_sees_a_hook_and_what_it_writes(tmp_path: Path) -> None:
    """That the other tests see nothing means something."""
    needed()
    repository, trace = tmp_path / "repository", Trace(tmp_path / "trace")
    assert run_git("init", "--quiet", str(repository)).returncode == 0
    hook = repository / ".git" / "hooks" / "post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ncd {tmp_path} && echo x > written; mkdir made; ln -s x linked; mv written moved\n")
    hook.chmod(0o755)
    who = {f"GIT_{one}_{what}": "x@y" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    program = [*trace.command(), "git", "commit", "--quiet", "--allow-empty", "-m", "x"]
    subprocess.run(program, cwd=repository, env=os.environ | who, check=True)
    calls = trace.read()
    assert any(call.name == "execve" and call.paths[0] == str(hook) for call in calls)
    changed = {path for call in calls if call.changes for path in call.paths}
    assert {str(tmp_path / name) for name in ("written", "made", "linked", "moved")} <= changed


def test_names_that_are_options_or_lead_upwards(attack: Attack) -> None:
    name = attack.new("named")
    names = [
        "--upload-pack=touch",
        "-oProxyCommand=x",
        "..",
        ".",
        "...",
        "-",
        "--",
        "%2e%2e",
        "%2d%2dexec",
        "a%00b",
        "a%0ab",
    ]
    names += [
        "..%2f..%2fplatform",
        "%2fetc",
        "$(id)",
        "%60id%60",
        "honest;id",
        "honest%7cid",
        "~",
        "~root",
        "HEAD",
        "-c",
    ]
    for one in names:
        for path in (f"{one}/named", f"ann/{one}", f"ann/named/{one}", f"{one}/{one}/{one}"):
            for resource in ("info/refs?service=git-upload-pack", "info/refs?service=git-receive-pack"):
                assert attack.ask(f"{path}.git/{resource}").status == 404, (path, resource)
            for service in ("git-upload-pack", "git-receive-pack"):
                assert attack.ask(f"{path}.git/{service}", b"0000").status == 404, (path, service)
    head = attack.head(name)
    refs = [
        b"--exec=x",
        b"-x",
        b"../../hooks/update",
        b"..",
        b"a/../b",
        b"x.lock",
        b"a b",
        b"\x7f",
        b"a~1",
        b"@{",
        b"@",
    ]
    refs += [b"a//b", b"/a", b"a/", b".a", b"a.", b"a\\b", b"*", b"?", b"[", b"$(id)", b"a:b", b"master/x"]
    for ref in (
        *(b"refs/heads/" + one for one in refs),
        b"HEAD",
        b"config",
        b"../config",
        b"hooks/update",
        b"objects/x",
    ):
        assert attack.push(name, push(NOTHING, head, pack([]), ref=ref)).status == 200, ref
    listed = run_git("for-each-ref", "--format=%(refname)", "refs/heads", cwd=attack.repositories[name]).stdout.split()
    assert listed == [f"refs/heads/{one}" for one in ("$(id)", "--exec=x", "-x", "@", "master")], "what git allows"
    assert attack.requests > 350


def test_files_with_names_that_are_commands_are_built_as_files(attack: Attack) -> None:
    name = attack.new("commands")
    touch = f"touch {attack.marker}".encode().replace(b"/", b"\\057")
    words = [b"-rf", b"--exec=" + touch, b"$(" + touch + b")", b"`" + touch + b"`", b";" + touch, b"|" + touch, b"a\nb"]
    words += [b"--", b"-c", b"\xff\xfe", b"\r", b"\x1b[2J", b"%s%n", b"'", b'"', b"a" * 250, b"con", b"~", b"a:b"]
    made, body = commit_of(
        name, attack.head(name), *(("100644", word, object_id(BLOB, CODE)) for word in words), objects=[]
    )
    assert b"unpack ok" in attack.push(name, body).body
    assert "build succeeded" in attack.built(name, made)


GIT_NAMES = [
    *(b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git ", b".git.", b".git::$INDEX_ALLOCATION", b".git\\x"),
    *(
        b"..",
        b".",
        b"",
        b"a/b",
        "\u200c.git".encode(),
        ".g\u200cit".encode(),
        ".gi\ufefft".encode(),
        "\u202e.git".encode(),
    ),
]


def test_disguises_of_git_are_not_taken(attack: Attack) -> None:
    name = attack.new("disguised")
    head, link = attack.head(name), b"../../../../marker"
    tried = 0
    for entry_name in GIT_NAMES:
        for mode, target in (("100644", CODE), ("120000", link), ("160000", CODE)):
            _, body = commit_of(name, head, (mode, entry_name, object_id(BLOB, target)), objects=[entry(BLOB, target)])
            assert b"unpack ok" not in attack.push(name, body).body, (entry_name, mode)
            tried += 1
        inner = tree(("100755", b"post-receive", object_id(BLOB, CODE)))
        _, body = commit_of(name, head, ("40000", entry_name, object_id(TREE, inner)), objects=[entry(TREE, inner)])
        assert b"unpack ok" not in attack.push(name, body).body, entry_name
    for special in (b".gitmodules", b".gitattributes", b".gitignore", b".mailmap"):
        _, body = commit_of(name, head, ("120000", special, object_id(BLOB, link)), objects=[entry(BLOB, link)])
        if b"unpack ok" not in attack.push(name, body).body:
            tried += 1
    assert tried > 3 * len(GIT_NAMES)
    assert attack.head(name) in {head, attack.head(name)}
    twice = ("100644", b"a", object_id(BLOB, CODE))
    _, body = commit_of(name, attack.head(name), twice, ("40000", b"a", packs.EMPTY_TREE), objects=[entry(TREE, b"")])
    assert b"unpack ok" not in attack.push(name, body).body


def test_submodules_links_hooks_and_settings_in_a_commit_are_only_files(attack: Attack) -> None:
    """CVE-2025-48384: a path that ends with CR; CVE-2024-32002: a link where a submodule is to be."""
    name = attack.new("planted")
    hook = f"#!/bin/sh\ntouch {attack.marker}\n".encode()
    settings = f'[core]\n\tbare = true\n\tfsmonitor = "touch {attack.marker}"\n\thooksPath = hooks\n'.encode()
    modules = b'[submodule "sub"]\n\tpath = "sub\\r"\n\turl = ./planted\n\tupdate = checkout\n'
    attributes = b"* filter=evil diff=evil merge=evil ident\n*.py working-tree-encoding=UTF-8\n"
    blobs = [
        hook,
        settings,
        modules,
        attributes,
        b"../../../../hooks",
        b".git/modules/sub/hooks",
        b"ref: refs/heads/x\n",
    ]
    one = {content: object_id(BLOB, content) for content in blobs}
    hooks = tree(
        *(("100755", each.encode(), one[hook]) for each in ("post-checkout", "post-receive", "pre-receive", "update"))
    )
    empty = ("40000", b"objects", packs.EMPTY_TREE), ("40000", b"refs", packs.EMPTY_TREE)
    before = attack.head(name)
    made, body = commit_of(
        name,
        before,
        *empty,
        ("100644", b".gitattributes", one[attributes]),
        ("100644", b".gitmodules", one[modules]),
        ("100644", b"HEAD", one[b"ref: refs/heads/x\n"]),
        ("100644", b"config", one[settings]),
        ("40000", b"hooks", object_id(TREE, hooks)),
        ("120000", b"sub\r", one[b".git/modules/sub/hooks"]),
        ("160000", b"sub", before),
        ("120000", b"out", one[b"../../../../hooks"]),
        objects=[*(entry(BLOB, content) for content in blobs), entry(TREE, hooks), entry(TREE, b"")],
    )
    assert b"unpack ok" in attack.push(name, body).body
    assert "build succeeded" in attack.built(name, made)
    body = packet(f"want {made} no-progress\n".encode()) + FLUSH + packet(b"done\n")
    assert b"PACK" in attack.ask(f"ann/{name}.git/git-upload-pack", body).body


def test_objects_that_are_small_to_send_and_huge_to_unpack(attack: Attack) -> None:
    name = attack.new("huge")
    head = attack.head(name)
    base = bytes(0xFFFFFF)
    delta, result = packs.growing(len(base), 1000)
    assert result > 15 << 30
    huge, _ = packs.zeros(COMMIT, 1100 << 20, packs.commit(packs.EMPTY_TREE, head), filler=b"x")
    claims = {
        "a delta that makes 16 GB": pack([entry(BLOB, base), entry(REF_DELTA, delta, base=object_id(BLOB, base))]),
        "4 billion objects": pack([entry(BLOB, CODE)], count=0xFFFFFFFF),
        "a blob that claims 1 EiB": pack([packs.head(BLOB, 1 << 60) + entry(BLOB, CODE)[2:]]),
        "a delta that claims 1 EiB": pack(
            [
                entry(BLOB, CODE),
                entry(REF_DELTA, packs.size(len(CODE)) + packs.size(1 << 60), base=object_id(BLOB, CODE)),
            ]
        ),
        "a commit of 1.1 GiB": pack([huge]),
    }
    for what, body in claims.items():
        answer = attack.push(name, push(head, "1" * 40, body))
        assert b"unpack ok" not in answer.body, what
        assert attack.head(name) == head
    large, blob = packs.zeros(BLOB, 225 << 20)
    made, body = commit_of(
        name, head, *(("100644", each, blob) for each in (b"%d" % number for number in range(10))), objects=[large]
    )
    assert len(body) < 1 << 20
    assert b"unpack ok" in attack.push(name, body).body
    assert "2147483648 is the most" in attack.built(name, made)
    chain, last = [entry(BLOB, b"0")], b"0"
    for number in range(3000):
        grown = last + b"x" if len(last) < 100 else b"%d" % number
        insert = packs.size(len(last)) + packs.size(len(grown)) + bytes([len(grown)]) + grown
        chain.append(entry(REF_DELTA, insert, base=object_id(BLOB, last)))
        last = grown
    made, body = commit_of(name, attack.head(name), ("100644", b"chain", object_id(BLOB, last)), objects=chain)
    assert b"unpack ok" in attack.push(name, body).body
    assert "build succeeded" in attack.built(name, made)


def test_a_million_references_pushed(attack: Attack) -> None:
    name = attack.new("many")
    began = time.monotonic()
    answer = attack.push(name, packs.many(1_000_000, attack.head(name)))
    assert answer.status == 400
    assert "push fewer" in answer.message
    head = attack.head(name)
    for start in range(3):  # as many as are taken, one more, and more than that
        lines = [packet(f"{NOTHING} {head} refs/heads/{start}/{each}\n".encode()) for each in range(1000 + start // 2)]
        said = attack.push(name, b"".join(lines) + FLUSH + pack([]))
        assert said.status == 200
    found = run_git("for-each-ref", "refs/heads", cwd=attack.repositories[name]).stdout.splitlines()
    assert len(found) == 2001
    assert time.monotonic() - began < 60


def test_a_million_references_advertised(attack: Attack) -> None:
    """By a repository of ours, however it came to that, and by a git host."""
    name = attack.new("crowded")
    head, repository = attack.head(name), attack.repositories[name]
    lines = (f"{head} refs/heads/b{number:07}\n" for number in range(1_000_000))
    (repository / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(lines))
    began = time.monotonic()
    for protocol, body in ((None, None), ("version=2", packet(b"command=ls-refs") + FLUSH)):
        headers = {"git-protocol": protocol} if protocol else {}
        path = "git-upload-pack" if body else "info/refs?service=git-upload-pack"
        assert attack.ask(f"ann/{name}.git/{path}", body, headers=headers).body.count(b"refs/heads/") >= 1_000_001
    assert b"10000 branches and tags" in attack.push(name, push(NOTHING, head, pack([]), ref=b"refs/heads/one")).body
    made, body = commit_of(name, head, objects=[])
    assert b"unpack ok" in attack.push(name, body).body, "to those there are, it can be pushed"
    assert "build succeeded" in attack.built(name, made)
    with GitHost(attack.marker.parent / "host") as host:
        tip = host.create("team/code", {"a": "1"})
        first = (
            packet(b"# service=git-upload-pack\n")
            + FLUSH
            + packet(f"{tip} HEAD\0 symref=HEAD:refs/heads/main\n".encode())
        )
        crowd = b"".join(packet(f"{tip} refs/heads/b{number:07}\n".encode()) for number in range(1_000_000))
        body, kind = first + crowd + FLUSH, {"Content-Type": "application/x-git-upload-pack-advertisement"}
        other = attack.new("sourced")
        wanted = b'{"url": "%s", "branch": "main", "token": "ghp_may-read"}' % host.url("team/code").encode()
        assert ask(attack.platform, "PUT", f"/v1/algorithms/ann/{other}/source", wanted, headers=JSON).status == 200
        host.fault = Fault(status=200, headers=kind, body=body, service="info/refs")
        compiled = ask(attack.platform, "POST", f"/v1/algorithms/ann/{other}/compile")
        assert compiled.status < 500
        assert any("info/refs" in request.target for request in host.requests)
    assert time.monotonic() - began < 100


def test_trees_that_are_deep_wide_or_endless(attack: Attack) -> None:
    name = attack.new("trees")
    objects, inner = [], packs.EMPTY_TREE
    for _ in range(20_000):
        content = tree(("40000", b"d", inner))
        objects.append(entry(TREE, content))
        inner = object_id(TREE, content)
    made, body = commit_of(name, attack.head(name), ("40000", b"deep", inner), objects=[entry(TREE, b""), *objects])
    if b"unpack ok" in attack.push(name, body).body and attack.head(name) == made:
        assert "build " in attack.built(name, made)
    wide = tree(*(("100644", f"{number:07}".encode(), object_id(BLOB, CODE)) for number in range(400_000)))
    made, body = commit_of(
        name, attack.head(name), ("40000", b"wide", object_id(TREE, wide)), objects=[entry(TREE, wide)]
    )
    assert b"unpack ok" in attack.push(name, body).body
    assert "build failed" in attack.built(name, made)
    kind, inner, objects = "100644", object_id(BLOB, CODE), []
    for _ in range(10):
        content = tree(*((kind, b"%d" % number, inner) for number in range(10)))
        objects.append(entry(TREE, content))
        kind, inner = "40000", object_id(TREE, content)
    made, body = commit_of(name, attack.head(name), ("40000", b"bomb", inner), objects=objects)
    assert b"unpack ok" in attack.push(name, body).body
    assert "build failed" in attack.built(name, made)
    made, body = commit_of(name, attack.head(name), objects=[])
    assert b"unpack ok" in attack.push(name, body).body
    assert "build succeeded" in attack.built(name, made), "and then it goes on"


def test_objects_that_are_broken(attack: Attack) -> None:
    name = attack.new("broken")
    head = attack.head(name)
    good = packs.commit(packs.EMPTY_TREE, head)
    sound = [entry(TREE, b""), entry(COMMIT, good)]
    unsorted = tree(("100644", b"b", object_id(BLOB, CODE)), ("100644", b"a", object_id(BLOB, CODE)))
    cycle = [entry(REF_DELTA, packs.size(1) + packs.size(1) + b"\1x", base=each * 40) for each in "12"]
    bodies = {
        "no pack": b"",
        "no magic": b"KCAP" + pack(sound)[4:],
        "version 9": pack(sound)[:4] + (9).to_bytes(4, "big") + pack(sound)[8:],
        "half": pack(sound)[:60],
        "one byte less": pack(sound)[:-1],
        "other checksum": pack(sound)[:-20] + bytes(20),
        "fewer than said": pack(sound, count=5),
        "more than said": pack(sound, count=1),
        "no deflate": pack([b"\x95\x0agarbage"]),
        "kind 0": pack([b"\x05" + entry(BLOB, CODE)[1:]]),
        "kind 5": pack([b"\x55" + entry(BLOB, CODE)[1:]]),
        "longer than said": pack([entry(BLOB, CODE, size=3), *sound]),
        "shorter than said": pack([entry(BLOB, CODE, size=300), *sound]),
        "no base": pack([entry(REF_DELTA, b"\1\1\1x", base="3" * 40)]),
        "deltas of each other": pack(cycle),
        "a delta that reads beyond its base": pack(
            [entry(BLOB, b"x"), entry(REF_DELTA, b"\1\x7f\x90\x7f", base=object_id(BLOB, b"x"))]
        ),
        "a tree out of order": pack(
            [entry(TREE, unsorted), entry(COMMIT, packs.commit(object_id(TREE, unsorted), head))]
        ),
        "a commit without its tree": pack([entry(COMMIT, packs.commit("4" * 40, head))]),
        "a commit without its parent": pack(
            [entry(TREE, b""), entry(COMMIT, packs.commit(packs.EMPTY_TREE, "5" * 40))]
        ),
        "a commit whose tree is a blob": pack(
            [entry(BLOB, CODE), entry(COMMIT, packs.commit(object_id(BLOB, CODE), head))]
        ),
        "a commit without an author": pack([entry(TREE, b""), entry(COMMIT, f"tree {packs.EMPTY_TREE}\n\nx".encode())]),
        "a commit with NUL": pack([entry(TREE, b""), entry(COMMIT, good[:50] + b"\0" + good[50:])]),
        "a blob for a commit": pack([entry(BLOB, good)]),
        "a tag for a commit": pack(
            [entry(TAG, f"object {head}\ntype commit\ntag x\ntagger {packs.WHO}\n\nx".encode())]
        ),
    }
    for what, body in bodies.items():
        news = {object_id(COMMIT, good), "6" * 40}
        for new in news:
            answer = attack.push(name, push(head, new, body))
            assert answer.status == 200, what
            assert b"ok refs/heads/master" not in answer.body, what
            assert attack.head(name) == head, what
    assert attack.requests >= 2 * len(bodies)
    assert b"ok refs/heads/master" in attack.push(name, push(head, object_id(COMMIT, good), pack(sound))).body
    assert run_git("fsck", "--strict", "--full", "--no-dangling", cwd=attack.repositories[name]).stdout == ""


def test_lines_that_are_not_the_protocol(attack: Attack) -> None:
    name = attack.new("garbled")
    head = attack.head(name)
    want = packet(f"want {head}\n".encode())
    lines = [
        *(b"", b"\0", b"0", b"000", b"zzzz", b"0001", b"0002", b"0003", b"0004", b"-001", b"fff0" + b"x" * 70_000),
        *(
            b"ffff",
            b"0000" * 50_000,
            b"0004" * 50_000,
            b"00010001",
            packet(b"want \n") + FLUSH,
            packet(b"want " + b"z" * 40),
        ),
        *(
            want,
            want + FLUSH + packet(b"done"),
            want + packet(b"deepen -1\n") + FLUSH,
            want + packet(b"deepen 99999999999"),
        ),
        *(
            want + packet(b"filter sparse:path=/etc/passwd") + FLUSH,
            want + packet(b"filter combine:" + b"a+" * 9000) + FLUSH,
        ),
        *(want + packet(b"deepen-not ../../../etc/passwd\n") + FLUSH, want + packet(b"shallow " + b"1" * 40) + FLUSH),
        *(
            packet(b"command=ls-refs\n") + b"0001" + packet(b"ref-prefix " + b"x" * 60_000) * 20 + FLUSH,
            packet(b"command=x"),
        ),
        *(
            packet(b"command=fetch\n") + b"0001" + packet(b"want-ref refs/pushpoint/x\n") + FLUSH,
            packet(b"command=\0\n"),
        ),
        *(packet(b"command=fetch") + packet(b"server-option=" + b"x" * 60_000) * 9 + b"0001" + want + FLUSH,),
        *(packet(b"push-cert\0 x\n"), packet(b"nonce x"), packet(b"\xff" * 90), b"GET / HTTP/1.1\r\n\r\n"),
        *(packet(f"{head} {head} refs/heads/master\0 push-options atomic object-format=sha256\n".encode()) + FLUSH,),
        *(packet(f"{head} {head} refs/heads/master\0 side-band-64k\n".encode()) * 1000 + FLUSH + pack([]),),
    ]
    for line in lines:
        for service in ("git-upload-pack", "git-receive-pack"):
            for protocol in ("", "version=2", "version=99:x"):
                headers = {"git-protocol": protocol} if protocol else {}
                answer = attack.ask(f"ann/{name}.git/{service}", line, headers=headers, timeout=30)
                assert answer.status in {200, 400}, (line[:80], service, answer.body[:200])
    assert attack.requests > 200
    assert attack.head(name) == head


def test_bodies_that_are_bombs(attack: Attack) -> None:
    name = attack.new("bombed")
    head = attack.head(name)
    have = packet(b"have " + b"1" * 40 + b"\n")
    sound = gzip.compress(packet(f"want {head} no-progress\n".encode()) + FLUSH + packet(b"done\n"))
    bombs = {
        "zeros": gzip.compress(bytes(256 << 20), 9),
        "flushes": gzip.compress(FLUSH * (16 << 20), 9),
        "haves": gzip.compress(packet(f"want {head}\n".encode()) + FLUSH + have * 2_000_000, 9),
        "a push that goes on": gzip.compress(push(head, "1" * 40, pack([])) + bytes(256 << 20), 9),
    }
    for what, bomb in bombs.items():
        for service in ("git-upload-pack", "git-receive-pack"):
            for protocol in ("version=0", "version=2"):
                headers = {"content-encoding": "gzip", "git-protocol": protocol}
                answer = attack.ask(f"ann/{name}.git/{service}", bomb, headers=headers)
                assert answer.status in {200, 400}, (what, service)
                assert b"ok refs" not in answer.body
    for encoding, body in (
        ("gzip", sound[:-9]),
        ("gzip", b"no gzip"),
        ("br", sound),
        ("gzip, gzip", gzip.compress(sound)),
    ):
        assert attack.ask(f"ann/{name}.git/git-upload-pack", body, headers={"content-encoding": encoding}).status == 400
    for encoding in ("gzip", "x-gzip"):
        answer = attack.ask(f"ann/{name}.git/git-upload-pack", sound, headers={"content-encoding": encoding})
        assert b"PACK" in answer.body


def test_slow_clients_hold_nobody_else_up(attack: Attack) -> None:
    name = attack.new("slow")
    create(attack.platform, "bob/quick", key=attack.bob)
    attack.adopt("bob/quick", attack.bob)
    credential = base64.b64encode(f"ann:{attack.platform.key}".encode()).decode()
    head = (
        "POST /git/ann/{}.git/{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-{}-request\r\n"
        f"Authorization: Basic {credential}\r\nContent-Length: 100000\r\n\r\n"
    )
    started = push(attack.head(name), "1" * 40, b"PACK")
    stuck = []
    for number in range(40):
        service, body = [("git-upload-pack", b"0032want"), ("git-receive-pack", started)][number % 2]
        connection = socket.create_connection(address(attack.platform))
        connection.sendall(head.format(name, service, service).encode() + body[: 1 + number * 5])
        stuck.append(connection)
    began = time.monotonic()
    for _ in range(5):
        assert attack.ask("bob/quick.git/info/refs?service=git-upload-pack", key=attack.bob).status == 200
        assert ask(attack.platform, "GET", f"/v1/algorithms/ann/{name}").status == 200
    assert time.monotonic() - began < 10
    for connection in stuck:
        connection.close()
    assert attack.ask(f"ann/{name}.git/info/refs?service=git-upload-pack").status == 200


def test_pushes_that_are_cut_off_change_nothing(attack: Attack) -> None:
    name = attack.new("cut")
    head = attack.head(name)
    noise = os.urandom(200_000)
    made, body = commit_of(name, head, ("100644", b"noise", object_id(BLOB, noise)), objects=[entry(BLOB, noise)])
    credential = base64.b64encode(f"ann:{attack.platform.key}".encode()).decode()
    for number in range(40):
        cut = number * 5 if number < 20 else number * len(body) // 40
        with socket.create_connection(address(attack.platform)) as connection:
            connection.sendall(
                f"POST /git/ann/{name}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: application/x-git-receive-pack-request\r\nAuthorization: Basic {credential}\r\n"
                "\r\n".encode()
                + body[:cut]
            )
            attack.requests += 1
        assert attack.head(name) == head
    assert b"ok refs/heads/master" in attack.push(name, body).body
    assert attack.head(name) == made
    assert run_git("fsck", "--strict", "--full", cwd=attack.repositories[name]).returncode == 0


def test_other_peoples_repositories_look_absent(attack: Attack) -> None:
    name = attack.new("private")
    made = attack.head(name)
    asked = 0
    for theirs, absent in ((name, "absent"), (f"{name}/0.1.0", "absent/0.1.0"), (f"{name}/{made}", f"absent/{made}")):
        for resource, body in (
            ("info/refs?service=git-upload-pack", None),
            ("info/refs?service=git-receive-pack", None),
            ("info/refs", None),
            ("git-upload-pack", packet(f"want {made}\n".encode()) + FLUSH + packet(b"done")),
            ("git-receive-pack", push(made, "1" * 40, pack([]))),
            ("HEAD", None),
            ("objects/info/packs", None),
            ("config", None),
        ):
            answers = [attack.ask(f"ann/{one}.git/{resource}", body, key=attack.bob) for one in (theirs, absent)]
            assert [answer.status for answer in answers] == [404, 404]
            first, second = (answer.json["error"] for answer in answers)
            assert first["message"].replace(name, "absent") == second["message"]
            assert (first["code"], first["error_type"]) == (second["code"], second["error_type"])
            assert made.encode() not in answers[0].body or made in theirs
            asked += 2
    assert asked == 48
