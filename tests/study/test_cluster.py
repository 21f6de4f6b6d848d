"""Addresses that are not those of a Ray cluster."""

from __future__ import annotations

import pytest

from ibml.config.resources import ResourcesConfig
from ibml.study.ray.cluster import ClusterError, connect_to_cluster, connect_to_ray, resolve_address

CLUSTER = "the address of a cluster is HOST:6379, or `auto` on one of its hosts"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "http://127.0.0.1:8265",
            "http://127.0.0.1:8265: this is the address for jobs (--submit, --jobs); ",
        ),
        (
            " https://head:8265/path\n",
            "https://head:8265/path: this is the address for jobs (--submit, --jobs); ",
        ),
        (
            "http://me:hunter2@head:8265",
            "http://me:***@head:8265: this is the address for jobs (--submit, --jobs); ",
        ),
        ("ray://127.0.0.1:10001", "ray://127.0.0.1:10001: Ray Client cannot run a study; "),
        ("tcp://127.0.0.1:6379", "tcp://127.0.0.1:6379: unknown kind of address; "),
        ("127.0.0.1", "127.0.0.1 is not the address of a Ray cluster; "),
        ("head", "head is not the address of a Ray cluster; "),
        (":6379", ":6379 is not the address of a Ray cluster; "),
        ("127.0.0.1:0", "127.0.0.1:0 is not the address of a Ray cluster; "),
        ("127.0.0.1:99999", "127.0.0.1:99999 is not the address of a Ray cluster; "),
        ("127.0.0.1:6379x", "127.0.0.1:6379x is not the address of a Ray cluster; "),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_another_address_is_refused_with_what_is_meant(
    address: str, words: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto" if given else address)
    for enter in (connect_to_cluster, lambda address: connect_to_ray(address, ResourcesConfig())):
        with pytest.raises(ClusterError) as caught, enter(address if given else None):
            pass
        assert str(caught.value) == words + CLUSTER


def test_blanks_around_an_address_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", " 127.0.0.1:6379\n")
    assert resolve_address(None) == "127.0.0.1:6379"
    assert resolve_address("auto ") == "auto"
    monkeypatch.setenv("RAY_ADDRESS", " ")
    assert resolve_address("") is None
