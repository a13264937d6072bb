"""A cluster that cannot be joined is one line that says what to change."""

import socket

import pytest
import ray

from core.errors import BadInput
from tasks.executors.cluster_address import join


class FakeRay:
    """Ray, as far as joining goes: raises what it is given."""

    exceptions = ray.exceptions

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.joined = error, []

    def init(self, address, **_options):
        self.joined.append(address)
        if self.error:
            raise self.error


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:8265", "for `ray job submit --address`"),
        ("nonsense", "write host:6379"),
        ("host:99999", "write host:6379"),
        ("127.0.0.1", "write host:6379"),
    ],
)
def test_what_is_no_address_is_told_before_ray_is_asked(address, expected):
    fake = FakeRay()
    with pytest.raises(BadInput, match=expected) as caught:
        join(fake, address)
    assert address in str(caught.value)
    assert fake.joined == []


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_told_at_once(nobody, scheme):
    fake = FakeRay()
    with pytest.raises(BadInput, match=r"no Ray cluster answers at .*refused"):
        join(fake, scheme + nobody)
    assert fake.joined == []


@pytest.mark.parametrize(
    "error", [ConnectionError("Unauthenticated\nmore"), ray.exceptions.AuthenticationError("no token")]
)
def test_a_cluster_that_refuses_us_names_the_variables(listening, error):
    with pytest.raises(BadInput, match="RAY_AUTH_MODE") as caught:
        join(FakeRay(error), listening)
    assert "RAY_AUTH_TOKEN" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_trouble_is_one_line_too(listening):
    with pytest.raises(BadInput, match=r"cannot join the Ray cluster at .*version"):
        join(FakeRay(RuntimeError("version mismatch\ndetails")), listening)


@pytest.mark.parametrize("address", [None, "", "auto"])
def test_without_an_address_ray_looks_for_itself(address):
    fake = FakeRay()
    join(fake, address)
    assert fake.joined == [address or None]


def test_a_ray_that_does_not_start_here_is_one_line():
    with pytest.raises(
        BadInput, match=r"Ray did not start on this machine \(timed out\): try again, or use --exec"
    ):
        join(FakeRay(Exception("timed out\ndetails")), None)
