"""Files of ibml contain no values of the environment."""

from __future__ import annotations

import pytest

from tests.conftest import CommandLine


def test_secrets_of_the_environment_are_in_no_file(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"):
        monkeypatch.setenv(name, "canary-of-the-environment")
    answer = cli.inside("train", "mfeat", "-o", "trainer.epochs=2")
    assert answer.code == 0, answer.err
    files = [path for path in cli.folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "config.yaml"} <= {path.name for path in files}
    assert not any(b"canary-of-the-environment" in path.read_bytes() for path in files)
    assert "canary" not in answer.out + answer.err
