"""What an image is built from: Dockerfile, requirements, the file that starts the job."""

from __future__ import annotations

from collections.abc import Mapping

from .kubernetes import USER
from .versions import FLINK, HOME, PYTHON

JOB = '''"""Start the job of this folder; Flink's client runs it."""

import sys
from pathlib import Path

from dataflare_nb.deploy.worker.job import main

main(Path(__file__).resolve().parent, sys.argv[1:])
'''


def requirements(pins: Mapping[str, str]) -> bytes:
    """Return the pins as pip reads them."""
    return "".join(f"{name}=={told}\n" for name, told in sorted(pins.items())).encode()


def dockerfile() -> bytes:
    """Return the Dockerfile: Python to the version, Java and Flink from their own images, and no root."""
    return f"""\
# syntax=docker/dockerfile:1
FROM flink:{FLINK}-java17 AS flink

FROM python:{PYTHON}-slim AS build
RUN apt-get update \\
    && apt-get install -y --no-install-recommends default-jdk-headless gcc g++ \\
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/requirements.txt
RUN JAVA_HOME=/usr/lib/jvm/default-java python -m venv /opt/venv \\
    && /opt/venv/bin/pip install --no-cache-dir --requirement /tmp/requirements.txt

FROM python:{PYTHON}-slim
COPY --from=flink /opt/java/openjdk /opt/java/openjdk
COPY --from=flink --chown={USER}:{USER} /opt/flink /opt/flink
COPY --from=flink /docker-entrypoint.sh /docker-entrypoint.sh
COPY --from=build /opt/venv /opt/venv
RUN apt-get update \\
    && apt-get install -y --no-install-recommends gettext-base \\
    && rm -rf /var/lib/apt/lists/* \\
    && groupadd --system --gid {USER} flink \\
    && useradd --system --uid {USER} --gid {USER} --home-dir /opt/flink flink
ENV FLINK_HOME=/opt/flink JAVA_HOME=/opt/java/openjdk PATH=/opt/venv/bin:/opt/flink/bin:/opt/java/openjdk/bin:$PATH
COPY graph.json job.json job.py dataflare.lock {HOME}/
COPY blobs {HOME}/blobs
WORKDIR /data
USER {USER}:{USER}
ENTRYPOINT ["/docker-entrypoint.sh"]
""".encode()


def readme(name: str, image: str, namespace: str, secrets: Mapping[str, str], notes: list[str]) -> bytes:
    """Return the README: five commands, and what must be there before."""
    lines = [
        f"# {name} on Apache Flink",
        "",
        "Five commands, run in this folder:",
        "",
        f"    docker build -t {image} .",
        f"    docker push {image}",
        "    kubectl apply -k .",
        f"    kubectl -n {namespace} get flinkdeployment {name} --watch",
        f"    kubectl -n {namespace} port-forward service/{name}-rest 8081",
        "",
        "The cluster needs the Flink Kubernetes Operator and, for `podmonitor.yaml`, the Prometheus Operator; without "
        "the latter, take that line out of `kustomization.yaml`.",
    ]
    if secrets:
        lines += ["", "Secrets that must be there:", ""]
        lines += [f"* `{told}`, which the job reads as `{each}`" for each, told in secrets.items()]
    if notes:
        lines += ["", "To know:", "", *(f"* {note}" for note in notes)]
    lines += ["", "`dataflare.lock` says what the image is built from, to the byte."]
    return ("\n".join(lines) + "\n").encode()
