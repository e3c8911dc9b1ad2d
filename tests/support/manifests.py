"""The files of deploy/, read as those who use them read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
LAYERS = ("system", "process", "experience")
Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text()))


def objects(folder: str) -> list[Document]:
    """Return the Kubernetes objects that a kustomization lists in files of its own folder."""
    (kustomization,) = documents(KUBERNETES / folder / "kustomization.yaml")
    files = [KUBERNETES / folder / each for each in kustomization["resources"]]
    return [each for file in files if file.is_file() for each in documents(file)]


def of_kind(kind: str, folder: str = "base") -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in objects(folder) if each["kind"] == kind}


def literals(folder: str) -> dict[str, dict[str, str]]:
    """Return what each ConfigMap that a kustomization generates holds."""
    (kustomization,) = documents(KUBERNETES / folder / "kustomization.yaml")
    return {
        each["name"]: dict(pair.split("=", 1) for pair in each.get("literals", ()))
        for each in kustomization["configMapGenerator"]
    }


def container(layer: str) -> Document:
    (found,) = of_kind("StatefulSet")[layer]["spec"]["template"]["spec"]["containers"]
    return found


def kubernetes_environment(layer: str) -> dict[str, str]:
    """Return the variables of a layer's container, with the addresses of the example."""
    servers = literals("example")["tiergate-servers"]
    found = dict(literals("base")["tiergate-environment"])
    for each in container(layer)["env"]:
        found[each["name"]] = each.get("value") or servers[each["valueFrom"]["configMapKeyRef"]["key"]]
    return found


def compose() -> Document:
    (found,) = documents(DEPLOY / "compose.yaml")
    return found


def containerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile, each with its arguments in one line."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[tuple[str, str]] = []
    for line in joined.splitlines():
        if line.strip():
            instruction, _, arguments = line.partition(" ")
            found.append((instruction, " ".join(arguments.split())))
    return found


def image_environment() -> dict[str, str]:
    (said,) = [arguments for instruction, arguments in containerfile() if instruction == "ENV"]
    return dict(pair.split("=", 1) for pair in said.split())
