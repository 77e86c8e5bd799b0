"""Flink's configuration, from what the target says."""

from __future__ import annotations

from .target import Autoscaler, Flink, Restart
from .versions import PYTHON_IN_IMAGE

METRICS_PORT = 9249


def of(target: Flink) -> dict[str, str]:
    """Return what Flink is told, keys sorted."""
    storage = target.checkpoints
    told = {
        "taskmanager.numberOfTaskSlots": str(target.slots),
        # State is in Python processes, so little memory is Flink's own to manage.
        "taskmanager.memory.managed.fraction": "0.3",
        "execution.checkpointing.interval": f"{target.checkpoint_interval}ms",
        "execution.checkpointing.timeout": f"{target.checkpoint_timeout}ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.dir": f"{storage}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{storage}/savepoints",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "state.backend.type": target.state_backend,
        "pipeline.max-parallelism": str(target.key_groups),
        "web.timeout": "10000",
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prom.port": str(METRICS_PORT),
        **WORKERS,
        **NETWORK,
        "python.executable": PYTHON_IN_IMAGE,
        "python.client.executable": PYTHON_IN_IMAGE,
        **restart(target),
        **_availability(target),
        **_autoscaler(target),
        **target.configuration,
    }
    return dict(sorted(told.items()))


WORKERS = {
    "python.execution-mode": "process",
    "python.fn-execution.bundle.size": "8",
    "python.fn-execution.bundle.time": "200",
    "pipeline.object-reuse": "true",
}
"""How Flink hands batches to Python, on Kubernetes and on a local cluster alike."""

NETWORK = {
    "taskmanager.network.memory.buffer-debloat.enabled": "true",
    "taskmanager.network.memory.buffer-debloat.target": "200ms",
    "taskmanager.network.memory.buffer-debloat.period": "100ms",
}
"""Little waits before a task, since a checkpoint waits for it to be worked on."""


def restart(target: Flink) -> dict[str, str]:
    """Return what becomes of a job that fails."""
    asked = target.restart
    assert isinstance(asked, Restart)
    prefix = f"restart-strategy.{asked.strategy}"
    told: dict[str, str] = {"restart-strategy.type": asked.strategy}
    match asked.strategy:
        case "exponential-delay":
            told |= {
                f"{prefix}.initial-backoff": f"{asked.delay}ms",
                f"{prefix}.max-backoff": f"{asked.max_delay}ms",
            }
            if asked.attempts is not None:
                told[f"{prefix}.attempts-before-reset-backoff"] = str(asked.attempts)
        case "fixed-delay":
            told |= {f"{prefix}.attempts": str(asked.attempts or 2**31 - 1), f"{prefix}.delay": f"{asked.delay}ms"}
        case "failure-rate":
            told |= {
                f"{prefix}.max-failures-per-interval": str(asked.attempts or 1),
                f"{prefix}.failure-rate-interval": f"{asked.interval}ms",
                f"{prefix}.delay": f"{asked.delay}ms",
            }
    return told


def _availability(target: Flink) -> dict[str, str]:
    if not target.high_availability:
        return {}
    return {"high-availability.type": "kubernetes", "high-availability.storageDir": f"{target.checkpoints}/ha"}


def _autoscaler(target: Flink) -> dict[str, str]:
    scaler = target.autoscaler
    if not isinstance(scaler, Autoscaler):
        return {}
    return {
        "jobmanager.scheduler": "adaptive",
        "job.autoscaler.enabled": "true",
        "job.autoscaler.scaling.enabled": "true",
        "job.autoscaler.utilization.target": str(scaler.utilization),
        "job.autoscaler.stabilization.interval": f"{scaler.stabilization}ms",
        "job.autoscaler.metrics.window": f"{scaler.window}ms",
        "job.autoscaler.vertex.min-parallelism": str(scaler.min_parallelism),
        "job.autoscaler.vertex.max-parallelism": str(scaler.max_parallelism),
    }
