"""Downloads, from a server on this machine."""

import gzip
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from core.data import load
from core.data.download import Remote, fetch
from core.errors import BadInput
from tests.core.data_files import mat, md5, mnist, publish


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, format, *arguments):
        self.asked.append(self.path)

    def do_GET(self):
        if self.path == "/short":  # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.log_message("")
        else:
            super().do_GET()


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    Quiet.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def left_in(root):
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_a_missing_dataset_is_downloaded_and_read(monkeypatch, tmp_path, served):
    folder, address = served
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    files = {name: mat(images, [1] * 20) for name in ("train_32x32.mat", "test_32x32.mat")}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums, urls = {n: md5(d) for n, d in files.items()}, {n: f"{address}/{n}" for n in files}
    publish(monkeypatch, "svhn", sums, urls)
    root = tmp_path / "new" / "root"
    with pytest.raises(BadInput, match="svhn is not under"):
        load("svhn", root)
    data = load("svhn", root, download=True)
    assert data.train_labels.tolist() == [1] * 20
    assert left_in(root) == [".unlearn-grid-cache", "test_32x32.mat", "train_32x32.mat"]
    load("svhn", root, download=True)
    assert Quiet.asked == ["/train_32x32.mat", "/test_32x32.mat"]  # once each


def test_a_dataset_whose_files_lie_in_folders(monkeypatch, tmp_path, served):
    folder, address = served
    files = {f"{name}.gz": gzip.compress(data) for name, data in mnist().items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    publish(monkeypatch, "mnist", {n: md5(d) for n, d in files.items()}, {n: f"{address}/{n}" for n in files})
    data = load("mnist", tmp_path / "root", download=True)
    assert data.train_labels.tolist() == [n % 10 for n in range(20)]
    assert left_in(tmp_path / "root/MNIST/raw") == sorted(files)


def test_a_wrong_sum_leaves_nothing(monkeypatch, tmp_path, served):
    folder, address = served
    (folder / "train_32x32.mat").write_bytes(b"a portal's login page")
    names = ("train_32x32.mat", "test_32x32.mat")
    publish(monkeypatch, "svhn", dict.fromkeys(names, "0" * 32), {n: f"{address}/{n}" for n in names})
    with pytest.raises(BadInput) as caught:
        load("svhn", tmp_path / "root", download=True)
    message = str(caught.value)
    assert "0" * 32 in message
    assert md5(b"a portal's login page") in message
    assert "by hand" in message
    assert "\n" not in message
    assert left_in(tmp_path / "root") == []


@pytest.mark.parametrize("path", ["/nowhere", "/short"])
def test_what_the_server_does_wrong(tmp_path, served, path):
    _, address = served
    with pytest.raises(BadInput) as caught:
        fetch(Remote(address + path, "file", "0" * 32), tmp_path / "root")
    assert f"download of {address}{path}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path / "root") == []


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nobody = "http://127.0.0.1:1/file"
    with pytest.raises(BadInput, match=r"download of http://127\.0\.0\.1:1/file to .* failed"):
        fetch(Remote(nobody, "file", ""), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="failed"):
        fetch(Remote("http://127.0.0.1:1/x", "x", ""), tmp_path / "file" / "root")


def test_a_file_that_is_there_is_not_fetched(tmp_path):
    (tmp_path / "x").write_text("mine")
    assert fetch(Remote("http://127.0.0.1:1/x", "x", ""), tmp_path).read_text() == "mine"


def test_two_at_once_download_once(tmp_path, served):
    folder, address = served
    (folder / "file").write_bytes(b"data" * 1000)
    remote = Remote(f"{address}/file", "file", md5(b"data" * 1000))
    threads = [threading.Thread(target=fetch, args=(remote, tmp_path / "root")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Quiet.asked == ["/file"]
    assert left_in(tmp_path / "root") == ["file"]
