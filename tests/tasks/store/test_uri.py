"""Addresses of stores: which are refused, in one line, and that no secret of one is ever shown."""

import http.server
import threading

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from core.errors import BadInput
from orchestrator import grid
from tasks.job import Job, Place
from tasks.node import make_node
from tasks.nodes import warm
from tasks.nodes.failures import failed
from tasks.store.store import Store
from tasks.store.uri import public, scrub

KEY = "ab" * 32
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def complaint(capsys, *arguments):
    assert grid.main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture
def forbidden(monkeypatch, s3_address):
    """An S3 that knows everybody and lets nobody in."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(403)
            self.send_header("Content-Length", str(len(REFUSAL)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(REFUSAL)

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815  (http.server wants these names)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    forget_connections()
    yield
    server.shutdown()
    thread.join()
    server.server_close()
    forget_connections()


def forget_connections():
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s4://bucket/grid", "did you mean 's3'?"),
        ("gs://bucket/grid", "gcsfs"),
        ("s3://", "names no place"),
        ("simplecache::foo://x", "unknown store scheme 'foo'"),
    ],
)
def test_an_address_that_nothing_opens_is_one_line(uri, expected, capsys):
    line = complaint(capsys, "plan", "--recipe", "digits", "--store", uri)
    assert expected in line


@pytest.mark.parametrize("verb", ["run", "plan", "status"])
def test_a_store_without_permission_is_one_line(verb, forbidden, capsys):
    line = complaint(
        capsys, verb, "--recipe", "digits", "--store", "s3://bucket/grid", "--executor", "inline"
    )
    assert "s3://bucket/grid cannot be read (Access Denied)" in line


def test_a_bucket_that_is_not_there_is_one_line(s3_address, capsys):
    arguments = ("run", "--recipe", "digits", "--executor", "inline", "--store", "s3://no-such-bucket/grid")
    assert "s3://no-such-bucket/grid cannot be written" in complaint(capsys, *arguments)


@pytest.mark.parametrize("key", ["../../etc/passwd", "ab" * 31, "AB" * 32, "", KEY + "\n", f"{KEY}/x"])
def test_only_hex_keys_become_paths(key, tmp_path):
    store = Store(str(tmp_path / "store"))
    for use in (
        store.manifest,
        store.forget_node,
        store.quarantine,
        store.keep,
        lambda k: store.read(k, "x"),
    ):
        with pytest.raises(BadInput, match="no node's key"):
            use(key)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\0b"])
def test_no_name_leads_out_of_the_store(name, tmp_path):
    with pytest.raises(BadInput, match="leads out of it"):
        Store(str(tmp_path / "store")).put(name, b"")


def test_a_file_of_a_node_is_in_its_folder(tmp_path):
    store = Store(str(tmp_path))
    store.put(f"manifests/{KEY}.json", b'{"files": {}}')
    with pytest.raises(BadInput, match="no file name"):
        store.drop_file(KEY, "../x")


def test_strangers_among_the_manifests_are_not_nodes(tmp_path):
    store = Store(str(tmp_path))
    for name in (f"{KEY}.json", "notes.json", f"{KEY}.json.bak", "AB.json"):
        store.put(f"manifests/{name}", b"{}")
        store.put(f"failures/x{name}", b"{}")
    assert store.finished() == {KEY}
    assert store.failures() == {}


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("/runs/a@b?c", "/runs/a@b?c"),
        ("s3://bucket/grid", "s3://bucket/grid"),
        ("sftp://me:hunter22@host/grid", "sftp://host/grid"),
        ("abfs://box/grid?sig=hunter22&se=2030", "abfs://box/grid"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(uri, shown):
    assert public(uri) == shown
    if "hunter22" in uri:
        assert "hunter22" not in scrub(f"cannot open {uri}: login me:hunter22 failed, sig=hunter22", uri)


def test_a_secret_of_the_address_is_in_no_row_log_or_message(monkeypatch, capsys):
    monkeypatch.setattr(MemoryFileSystem, "_strip_protocol", classmethod(lambda cls, path: "/secret-grid"))
    address = "memory://me:hunter22@box/grid"
    store, node = Store(address), make_node("data", (), {"dataset": "digits", "limit": None})
    assert store.address == address
    assert "hunter22" not in store.uri
    try:
        raise OSError(f"530 login at {address} as me:hunter22 refused")
    except OSError as error:
        outcome = failed(Job(node, Place(address)), error)
    assert "hunter22" not in outcome.record.model_dump_json()
    for name in store.sizes(""):
        assert b"hunter22" not in store.get(name)
    warm.clear()
