"""The manifests: the FlinkDeployment for the operator, and what must stand around it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from . import configuration
from .target import Flink, Resources
from .versions import FLINK, FLINK_ON_OPERATOR, HOME, PYTHON_IN_IMAGE

Manifest: TypeAlias = dict[str, Any]
USER = 9999
"""The user that Flink's images know as `flink`."""
DATA = "/data"
_FILE_SYSTEMS = {
    **dict.fromkeys(("s3", "s3a"), "flink-s3-fs-hadoop"),
    "s3p": "flink-s3-fs-presto",
    "gs": "flink-gs-fs-hadoop",
    **dict.fromkeys(("abfs", "abfss", "wasb", "wasbs"), "flink-azure-fs-hadoop"),
    "oss": "flink-oss-fs-hadoop",
}
"""What of Flink's image has to be switched on for a place of checkpoints."""
_POD_CONFIGURATION = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def manifests(name: str, image: str, target: Flink) -> dict[str, list[Manifest]]:
    """Return the files and what each holds, in the order in which they are applied."""
    account = target.service_account or name
    meta = _Meta(name, target)
    files = {
        "serviceaccount.yaml": [_service_account(meta, account)] if target.service_account is None else [],
        "rbac.yaml": [_role(meta), _role_binding(meta, account)],
        "configmap.yaml": [_config_map(meta)] if target.environment else [],
        "networkpolicy.yaml": [_network_policy(meta)],
        "poddisruptionbudget.yaml": [_disruption_budget(meta)],
        "podmonitor.yaml": [_pod_monitor(meta)],
        "flinkdeployment.yaml": [_flink_deployment(meta, image, account)],
    }
    files = {path: made for path, made in files.items() if made}
    files["kustomization.yaml"] = [
        {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(files)}
    ]
    return files


class _Meta:
    """What all manifests share."""

    def __init__(self, name: str, target: Flink) -> None:
        self.name = name
        self.target = target
        # The operator labels each pod with the name of its deployment.
        self.pods = {"app": name}

    def of(self, kind: str, api: str, name: str | None = None) -> Manifest:
        labels = {
            **self.target.labels,
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/managed-by": "dataflare",
        }
        return {
            "apiVersion": api,
            "kind": kind,
            "metadata": {"name": name or self.name, "namespace": self.target.namespace, "labels": labels},
        }


def _flink_deployment(meta: _Meta, image: str, account: str) -> Manifest:
    target = meta.target
    parallelism = max(target.parallelism, *target.stage_parallelism.values(), 1)
    return meta.of("FlinkDeployment", "flink.apache.org/v1beta1") | {
        "spec": {
            "image": image,
            "imagePullPolicy": target.image_pull_policy,
            "flinkVersion": FLINK_ON_OPERATOR,
            "serviceAccount": account,
            "flinkConfiguration": configuration.of(target),
            "podTemplate": _pod(meta),
            "jobManager": {"resource": _resource(target.job_manager), "replicas": 1},
            "taskManager": {"resource": _resource(target.task_manager)},
            "job": {
                "jarURI": f"local:///opt/flink/opt/flink-python-{FLINK}.jar",
                "entryClass": "org.apache.flink.client.python.PythonDriver",
                "args": ["-pyclientexec", PYTHON_IN_IMAGE, "-pyexec", PYTHON_IN_IMAGE, "-py", f"{HOME}/job.py"],
                "parallelism": parallelism,
                "upgradeMode": target.upgrade,
                "state": "running",
            },
        },
    }


def _pod(meta: _Meta) -> Manifest:
    target = meta.target
    container: Manifest = {
        "name": "flink-main-container",
        "ports": [{"name": "metrics", "containerPort": configuration.METRICS_PORT, "protocol": "TCP"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": DATA}],
    }
    if target.environment:
        container["envFrom"] = [{"configMapRef": {"name": meta.name}}]
    variables: list[Manifest] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in ((each, told.split("/")) for each, told in target.secrets.items())
    ]
    if (plugin := _FILE_SYSTEMS.get(target.checkpoints.partition("://")[0])) is not None:
        variables.append({"name": "ENABLE_BUILT_IN_PLUGINS", "value": f"{plugin}-{FLINK}.jar"})
    if variables:
        container["env"] = variables
    spec: Manifest = {
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": target.data}}],
    }
    if target.node_selector:
        spec["nodeSelector"] = dict(target.node_selector)
    metadata: Manifest = {"name": "pod-template"}
    if target.environment:
        # Pods read a ConfigMap when they start, so another one has to be another template.
        metadata["annotations"] = {"dataflare/environment": _sum(target.environment)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _sum(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:16]


def _resource(resources: Any) -> Manifest:
    assert isinstance(resources, Resources)
    return {"cpu": resources.cpu, "memory": f"{resources.memory}m"}


def _service_account(meta: _Meta, account: str) -> Manifest:
    return meta.of("ServiceAccount", "v1", account)


def _role(meta: _Meta) -> Manifest:
    """Flink starts its TaskManagers itself, and with high availability keeps its leader in ConfigMaps."""
    return meta.of("Role", "rbac.authorization.k8s.io/v1") | {
        "rules": [
            {"apiGroups": [""], "resources": ["pods", "configmaps", "services"], "verbs": _POD_CONFIGURATION},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": _POD_CONFIGURATION},
        ]
    }


def _role_binding(meta: _Meta, account: str) -> Manifest:
    return meta.of("RoleBinding", "rbac.authorization.k8s.io/v1") | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": meta.name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": meta.target.namespace}],
    }


def _config_map(meta: _Meta) -> Manifest:
    return meta.of("ConfigMap", "v1") | {"data": dict(meta.target.environment)}


def _network_policy(meta: _Meta) -> Manifest:
    """The pods talk with each other; others reach the REST interface, which the operator needs, and the metrics."""
    return meta.of("NetworkPolicy", "networking.k8s.io/v1") | {
        "spec": {
            "podSelector": {"matchLabels": meta.pods},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": meta.pods}}]},
                {
                    "from": [{"namespaceSelector": {}}],
                    "ports": [
                        {"protocol": "TCP", "port": 8081},
                        {"protocol": "TCP", "port": configuration.METRICS_PORT},
                    ],
                },
            ],
        }
    }


def _disruption_budget(meta: _Meta) -> Manifest:
    return meta.of("PodDisruptionBudget", "policy/v1") | {
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {**meta.pods, "component": "taskmanager"}}}
    }


def _pod_monitor(meta: _Meta) -> Manifest:
    return meta.of("PodMonitor", "monitoring.coreos.com/v1") | {
        "spec": {
            "selector": {"matchLabels": meta.pods},
            "podMetricsEndpoints": [{"port": "metrics", "interval": "30s"}],
        }
    }
