"""The manifests hold to strict schemas of Kubernetes and of the operator, in which a planted mistake is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import dataflare_nb as flare
from dataflare_nb.deploy import Deployer

from . import graphs

FULL = flare.Flink(
    name="flights",
    image="registry.example/flights:1",
    namespace="air",
    parallelism=8,
    stage_parallelism={"hourly": 16},
    slots=4,
    task_manager={"cpu": 2, "memory": "4g"},
    checkpoint_interval="30s",
    checkpoint_storage="s3://bucket/flights",
    state_backend="rocksdb",
    upgrade="last-state",
    restart={"strategy": "failure-rate", "attempts": 3},
    high_availability=True,
    autoscaler={"min_parallelism": 2, "max_parallelism": 32},
    node_selector={"disktype": "ssd"},
    labels={"team": "air"},
    environment={"REGION": "east"},
    secrets={"KAFKA_PASSWORD": "kafka/password"},
    configuration={"taskmanager.network.memory.max": "256mb"},
)
TARGETS = {"default": flare.Flink(image="registry.example/flights:1"), "full": FULL}
GOLDEN = Path(__file__).parent / "golden"
OTHERS = ("Kustomization", "FlinkDeployment", "PodMonitor")
"""What Kubernetes itself knows no schema of."""

_TEXT = {"type": "string", "minLength": 1}
_RESOURCE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"cpu": {"type": "number", "exclusiveMinimum": 0}, "memory": {"pattern": "^[0-9]+m$"}},
}
OURS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "flink.apache.org/v1beta1"},
        "kind": {"const": "FlinkDeployment"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["image", "flinkVersion", "flinkConfiguration", "jobManager", "taskManager", "job"],
            "properties": {
                "image": _TEXT,
                "imagePullPolicy": _TEXT,
                "flinkVersion": {"pattern": r"^v[0-9]+_[0-9]+$"},
                "serviceAccount": _TEXT,
                "flinkConfiguration": {"type": "object", "additionalProperties": {"type": "string"}},
                "podTemplate": {"type": "object"},
                "jobManager": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"resource": _RESOURCE, "replicas": {"type": "integer"}},
                },
                "taskManager": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"resource": _RESOURCE},
                },
                "job": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["jarURI", "entryClass", "args", "parallelism", "upgradeMode", "state"],
                    "properties": {
                        "jarURI": {"pattern": "^local:///"},
                        "entryClass": _TEXT,
                        "args": {"type": "array", "items": _TEXT},
                        "parallelism": {"type": "integer", "minimum": 1},
                        "upgradeMode": {"enum": ["savepoint", "last-state", "stateless"]},
                        "state": {"enum": ["running", "suspended"]},
                    },
                },
            },
        },
    },
}
"""What the operator takes of a FlinkDeployment, as far as we write it; closed, so that a typo is found."""


def documents(target: flare.Flink) -> Iterator[dict[str, Any]]:
    bundle = Deployer(target).render(graphs.hourly().graph)
    for path, content in bundle.files.items():
        if path.endswith(".yaml"):
            yield from yaml.safe_load_all(content)


def golden(target: flare.Flink) -> dict[str, bytes]:
    """Return the files of a bundle that people review: manifests and README."""
    files = Deployer(target).render(graphs.hourly().graph).files
    return {path: content for path, content in files.items() if path.endswith((".yaml", ".md"))}


@pytest.mark.parametrize("name", TARGETS)
def test_manifests_are_those_that_were_reviewed(name: str) -> None:
    made = golden(TARGETS[name])
    kept = {path.name: path.read_text() for path in sorted((GOLDEN / name).iterdir())}
    assert {path: content.decode() for path, content in made.items()} == kept, "python -m tests.deploy.renew"


def of_kind(kind: str, target: flare.Flink = FULL) -> dict[str, Any]:
    return next(each for each in documents(target) if each["kind"] == kind)


def faults(document: dict[str, Any], schema: dict[str, Any] = OURS) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


@pytest.mark.parametrize("target", [flare.Flink(), FULL], ids=["default", "full"])
def test_manifests_hold_to_the_strict_schemas_of_kubernetes(target: flare.Flink) -> None:
    found = list(documents(target))
    for document in found:
        if document["kind"] not in OTHERS:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    assert {"Role", "RoleBinding", "NetworkPolicy", "PodDisruptionBudget", *OTHERS} <= {each["kind"] for each in found}


def test_a_typo_in_a_manifest_is_found() -> None:
    role = of_kind("Role")
    role["rules"][0]["verb"] = ["get"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(role, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("target", [flare.Flink(), FULL], ids=["default", "full"])
def test_the_flink_deployment_holds_and_so_does_its_pod(target: flare.Flink) -> None:
    document = of_kind("FlinkDeployment", target)
    assert faults(document) == []
    pod = document["spec"]["podTemplate"]
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_planted_mistakes_are_found() -> None:
    document = of_kind("FlinkDeployment")
    for mistake in (
        {"jobManagr": {}},
        {"flinkVersion": "2.3"},
        {"flinkConfiguration": {"taskmanager.numberOfTaskSlots": 2}},
        {"job": {**document["spec"]["job"], "upgradeMode": "nope"}},
    ):
        broken = deepcopy(document)
        broken["spec"] |= mistake
        assert faults(broken), mistake


@pytest.mark.parametrize("target", [flare.Flink(), FULL], ids=["default", "full"])
def test_the_flink_deployment_holds_to_the_operators_own_definition(target: flare.Flink) -> None:
    folder = os.environ.get("DATAFLARE_FLINK_CRD")
    if folder is None:
        pytest.skip("DATAFLARE_FLINK_CRD is not set to the folder with the operator's definitions")
    definition = yaml.safe_load((Path(folder) / "flinkdeployments.flink.apache.org-v1.yml").read_bytes())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in ("apiVersion", "kind", "metadata"):
        schema["properties"].setdefault(name, {})
    _close(schema)
    assert not list(_unknown(OURS, schema)), "our schema lets pass what the operator does not know"
    document = of_kind("FlinkDeployment", target)
    assert faults(document, schema) == []
    document["spec"]["podTemplate"]["spec"]["nodeSelectr"] = {}
    assert faults(document, schema)


def _unknown(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> Iterator[str]:
    """Name the fields of our schema that the operator's does not have."""
    for name, inner in ours.get("properties", {}).items():
        if name not in theirs.get("properties", {}):
            yield f"{path}.{name}"
        else:
            yield from _unknown(inner, theirs["properties"][name], f"{path}.{name}")


def _close(schema: Any) -> None:
    """Let no field pass that the definition does not name, as Kubernetes would drop it."""
    if isinstance(schema, list):
        for each in schema:
            _close(each)
    elif isinstance(schema, dict):
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if isinstance(schema.get("properties"), dict) and not open_ended:
            schema["additionalProperties"] = False
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
        for each in list(schema.values()):
            _close(each)


def test_options_are_where_flink_and_kubernetes_look_for_them() -> None:
    spec = of_kind("FlinkDeployment")["spec"]
    told = spec["flinkConfiguration"]
    assert told["execution.checkpointing.interval"] == "30000ms"
    assert told["execution.checkpointing.dir"] == "s3://bucket/flights/checkpoints"
    assert told["high-availability.storageDir"] == "s3://bucket/flights/ha"
    assert told["restart-strategy.failure-rate.max-failures-per-interval"] == "3"
    assert told["job.autoscaler.vertex.max-parallelism"] == "32"
    assert told["taskmanager.network.memory.max"] == "256mb"
    assert spec["job"]["parallelism"] == 16
    assert spec["taskManager"]["resource"] == {"cpu": 2.0, "memory": "4096m"}
    pod = spec["podTemplate"]["spec"]
    assert pod["nodeSelector"] == {"disktype": "ssd"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "flights"}}]
    variable, plugins = container["env"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "kafka", "key": "password"}}
    assert plugins == {"name": "ENABLE_BUILT_IN_PLUGINS", "value": "flink-s3-fs-hadoop-2.3.0.jar"}


@pytest.mark.parametrize("told", ["1e3", "12345e67", "1.5e3", "-.5", "0o17", "y", "N", "yes", "null", "0x1f", "1_000"])
def test_text_that_another_reader_of_yaml_takes_for_a_number_is_quoted(told: str) -> None:
    files = Deployer(flare.Flink(environment={"RELEASE": told})).render(graphs.hourly().graph).files
    assert f"RELEASE: '{told}'\n" in files["configmap.yaml"].decode()
    assert yaml.safe_load(files["configmap.yaml"])["data"] == {"RELEASE": told}


def test_names_and_references_fit_together() -> None:
    found = {each["kind"]: each for each in documents(FULL)}
    account = found["ServiceAccount"]["metadata"]["name"]
    assert found["FlinkDeployment"]["spec"]["serviceAccount"] == account
    assert found["RoleBinding"]["subjects"][0]["name"] == account
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert {each["metadata"]["namespace"] for each in found.values() if "metadata" in each} == {"air"}
    assert {each["metadata"]["labels"]["team"] for each in found.values() if "metadata" in each} == {"air"}
    bundle = Deployer(FULL).render(graphs.hourly().graph)
    manifests = {path for path in bundle.files if path.endswith(".yaml")}
    assert set(found["Kustomization"]["resources"]) == manifests - {"kustomization.yaml"}


def test_pods_are_started_anew_for_other_variables() -> None:
    def pods(**environment: str) -> Any:
        return of_kind("FlinkDeployment", flare.Flink(environment=environment))["spec"]["podTemplate"]

    assert pods(REGION="east") != pods(REGION="west")
    assert pods(REGION="east", ZONE="a") == pods(ZONE="a", REGION="east")


def test_an_account_of_ones_own_is_not_made_anew() -> None:
    found = {each["kind"]: each for each in documents(flare.Flink(service_account="mine"))}
    assert "ServiceAccount" not in found
    assert found["FlinkDeployment"]["spec"]["serviceAccount"] == "mine"
    assert found["RoleBinding"]["subjects"][0]["name"] == "mine"
