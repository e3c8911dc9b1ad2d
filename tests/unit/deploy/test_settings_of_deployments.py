"""The variables that the manifests set are settings, and make a layer's settings whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Layer
from tests.support.manifests import (
    DEPLOY,
    LAYERS,
    ROOT,
    compose,
    container,
    image_environment,
    kubernetes_environment,
    of_kind,
)
from tiergate.platforms import load_platforms, unknown_platform_variables
from tiergate.settings import load, unknown_variables

OTHERS = {"TIERGATE_CONFIG", "TIERGATE_FOLDER"}
SECTIONS = (
    "TIERGATE_SERVER_",
    "TIERGATE_GOVERNANCE_",
    "TIERGATE_SYSTEM_",
    "TIERGATE_PROCESS_",
    "TIERGATE_CONSOLE_",
    "TIERGATE_TRACING_",
    "TIERGATE_PLATFORMS_",
)


def compose_environment(layer: str) -> dict[str, str]:
    return compose()["services"][layer]["environment"]


ENVIRONMENTS: dict[str, Callable[[str], dict[str, str]]] = {
    "kubernetes": kubernetes_environment,
    "compose": compose_environment,
}


@pytest.mark.parametrize("path", sorted(each for each in DEPLOY.rglob("*") if each.is_file()), ids=str)
def test_every_variable_that_a_file_names_is_a_setting(path: Path) -> None:
    named: set[str] = set(re.findall(r"TIERGATE_[A-Z0-9_]*[A-Z0-9]", path.read_text())) - OTHERS
    placeholders = {"TIERGATE_PLATFORMS", "TIERGATE_SERVER"}  # of names that are put together

    assert [each for each in named - placeholders if not each.startswith(SECTIONS)] == []
    assert [*unknown_variables(named), *unknown_platform_variables(load_catalogue(), dict.fromkeys(named, ""))] == []


@pytest.mark.parametrize("kind", ENVIRONMENTS)
@pytest.mark.parametrize("layer", LAYERS)
def test_settings_and_secrets_are_all_that_a_layer_needs(kind: str, layer: Layer, tmp_path: Path) -> None:
    environment = image_environment() | ENVIRONMENTS[kind](layer)
    for name, value in environment.items():
        if value.startswith("/run/secrets/"):
            environment[name] = str(tmp_path / Path(value).name)
            Path(environment[name]).write_text("a secret")

    settings = load(DEPLOY / "kubernetes/example/tiergate.toml", environment)

    assert settings.server.url_of_system() == "http://system:8101"
    assert settings.server.url_of_process() == "http://process:8102"
    assert settings.governance.redis_url.startswith("redis")
    assert settings.governance.redis_password.read().reveal() == "a secret"
    assert settings.process.database_url.startswith("postgresql://") is (layer == "process")
    assert settings.governance.database_url.startswith("postgresql://")
    assert settings.governance.database_password.read().reveal() == "a secret"
    assert settings.issuer_key() == settings.state / "issuer.pem", "a replica makes its own"
    assert settings.state == Path("/var/lib/tiergate/state")
    assert settings.audit_files(layer).head.parent == Path("/var/lib/tiergate-heads")
    if layer == "system":
        assert load_platforms(settings, load_catalogue(), environment).keys() == load_catalogue().platforms.keys()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_container_gets_each_secret_that_its_variables_name_and_no_other(layer: str) -> None:
    service = compose()["services"][layer]
    named = {each for each in service["environment"].values() if each.startswith("/run/secrets/")}

    assert {f"/run/secrets/{each}" for each in service["secrets"]} == named


@pytest.mark.parametrize("layer", LAYERS)
def test_a_pod_gets_the_secrets_of_its_own_layer_alone(layer: str) -> None:
    volumes = of_kind("StatefulSet")[layer]["spec"]["template"]["spec"]["volumes"]
    (secrets,) = [each["projected"] for each in volumes if each["name"] == "secrets"]
    own = {"system": ["tiergate-platforms"], "process": ["tiergate-database"], "experience": []}[layer]

    assert [each["secret"]["name"] for each in secrets["sources"]] == ["tiergate-common", *own]
    assert secrets["defaultMode"] & 0o007 == 0
    assert container(layer)["env"][0] == {"name": "LAYER", "value": layer}


def test_the_guide_names_every_key_of_every_secret() -> None:
    guide = (ROOT / "docs/guides/deploy.md").read_text()
    values = [each for layer in LAYERS for each in kubernetes_environment(layer).values()]
    keys = {Path(each).name for each in values if each.startswith("/run/secrets/")}

    assert [each for each in sorted(keys) if each not in guide] == []
