"""The Kubernetes objects are valid, and promise what the guide says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.manifests import DEPLOY, KUBERNETES, LAYERS, container, documents, objects, of_kind

PORTS = {"system": 8101, "process": 8102, "experience": 8103}
NAMED = {"app.kubernetes.io/name": "tiergate"}
FILES = sorted(each for each in KUBERNETES.rglob("*.yaml") if each.name != "kustomization.yaml")
FILES.append(DEPLOY / "prometheus" / "network-policy.yaml")


def test_every_object_is_valid_by_the_schemas_of_kubernetes() -> None:
    tool = Path(sys.executable).with_name("kubernetes-validate")

    done = subprocess.run(
        [tool, "--strict", "--kubernetes-version", "1.31", *FILES], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_belongs_to_a_kustomization() -> None:
    for folder in ("base", "example"):
        (kustomization,) = documents(KUBERNETES / folder / "kustomization.yaml")
        generated = [file for each in kustomization["configMapGenerator"] for file in each.get("files", ())]
        used = {*kustomization["resources"], *generated, "kustomization.yaml"} - {"../base"}

        assert {each.name for each in (KUBERNETES / folder).iterdir()} == used


def test_a_patch_of_the_example_has_its_object_in_the_base() -> None:
    (kustomization,) = documents(KUBERNETES / "example" / "kustomization.yaml")
    there = {(each["kind"], each["metadata"]["name"]) for each in objects("base")}

    assert {(each["target"]["kind"], each["target"]["name"]) for each in kustomization["patches"]} <= there


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_has_no_right_that_it_does_not_need(layer: str) -> None:
    pod = of_kind("StatefulSet")[layer]["spec"]["template"]["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(layer)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_started_asked_and_stopped_as_it_needs(layer: str) -> None:
    found = container(layer)
    startup = found["startupProbe"]

    assert found["ports"] == [{"name": "http", "containerPort": PORTS[layer]}]
    assert startup["httpGet"]["path"] == found["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    assert found["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
    assert found["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in found["resources"]["limits"]
    assert of_kind("StatefulSet")[layer]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60


@pytest.mark.parametrize("layer", LAYERS)
def test_what_a_replica_cannot_share_outlives_its_pod(layer: str) -> None:
    spec = of_kind("StatefulSet")[layer]["spec"]
    claims = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    mounted = {each["mountPath"]: each["name"] for each in container(layer)["volumeMounts"]}

    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert {mounted["/var/lib/tiergate"], mounted["/var/lib/tiergate-heads"]} == claims


def test_the_process_layer_is_never_rolled_over() -> None:
    assert of_kind("StatefulSet")["process"]["spec"]["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_found_kept_up_and_spread(layer: str) -> None:
    spec = of_kind("StatefulSet")[layer]["spec"]
    labels = {**NAMED, "app.kubernetes.io/component": layer}
    spread = spec["template"]["spec"]["topologySpreadConstraints"]

    assert spec["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"] == labels
    assert of_kind("Service")[layer]["spec"]["selector"] == labels
    assert of_kind("Service")[layer]["spec"]["ports"][0]["port"] == PORTS[layer]
    assert of_kind("PodDisruptionBudget")[layer]["spec"]["selector"]["matchLabels"] == labels
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_what_computes_is_scaled_by_its_cpu_and_what_waits_by_how_long_work_waits_for_it() -> None:
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind("HorizontalPodAutoscaler").values()
    }
    measures = {name: [each["type"] for each in spec["metrics"]] for name, spec in scaled.items()}

    assert measures == {"experience": ["Resource"], "system": ["Resource"], "process": ["External"]}
    assert {each["scaleTargetRef"]["kind"] for each in scaled.values()} == {"StatefulSet"}
    assert [name for name, each in of_kind("StatefulSet").items() if "replicas" in each["spec"]] == []


def test_a_layer_is_reached_by_its_neighbours_alone() -> None:
    policies = of_kind("NetworkPolicy")

    def callers(layer: str) -> set[str]:
        (rule,) = policies[layer]["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": PORTS[layer]}]
        found = [next(iter(each.values()))["matchLabels"] for each in rule["from"]]
        return {each.get("app.kubernetes.io/component", each.get("kubernetes.io/metadata.name")) for each in found}

    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert callers("experience") == {"ingress-nginx"}
    assert callers("process") == {"experience", "system"}
    assert callers("system") == {"process", "ingress-nginx"}


def test_platforms_and_webhooks_are_reached_in_the_internet_and_nothing_in_private_networks() -> None:
    policies = of_kind("NetworkPolicy")
    outside = {
        name: [each for each in policy["spec"].get("egress", ()) if "ipBlock" in str(each)]
        for name, policy in policies.items()
    }

    assert {name for name, rules in outside.items() if rules} == {"system", "process"}
    for (rule,) in (outside["system"], outside["process"]):
        assert rule["ports"] == [{"protocol": "TCP", "port": 443}]
        (to,) = rule["to"]
        assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(to["ipBlock"]["except"])


def test_no_secret_has_a_value_here() -> None:
    kinds = {each["kind"] for folder in ("base", "example") for each in objects(folder)}

    assert "Secret" not in kinds


def test_the_internet_reaches_nothing_of_the_system_layer_but_webhooks() -> None:
    paths: dict[str, list[str]] = {}
    for each in of_kind("Ingress", "example").values():
        for rule in each["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                paths.setdefault(path["backend"]["service"]["name"], []).append(path["path"])

    assert paths == {"experience": ["/"], "system": ["/billing/v1/webhooks", "/provisioning/v1/webhooks"]}
