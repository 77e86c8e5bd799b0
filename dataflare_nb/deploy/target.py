"""What a user says of the cluster: `flare.Flink(...)`, checked as a whole."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ..errors import BadOption, shown, trimmed, user_line
from ..graph.node import NAME_PATTERN
from . import fields as read
from .secrets import VARIABLE, looks_secret, written_out

if TYPE_CHECKING:
    from .local.cluster import LocalCluster

T = TypeVar("T")
_KEYWORD, _POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
_VARIADIC = inspect.Parameter.VAR_KEYWORD
MOST_PARALLEL = 1 << 15
"""Flink's own bound of key groups."""
_KEYS_OF_OURS = (
    "kubernetes.",
    "python.",
    "pipeline.",
    "execution.checkpointing.",
    "high-availability",
    "restart-strat",
)


def _told_at_once(cls: type[T]) -> type[T]:
    """Let a class read its options by `READERS`, and name every mistake in one error."""
    made: Callable[..., None] = cls.__init__
    readers: Mapping[str, read.Read] = cls.READERS  # type: ignore[attr-defined]
    assert list(readers) == [each.name for each in fields(cls)]  # type: ignore[arg-type]

    @trimmed
    @functools.wraps(made)
    def init(self: T, *args: Any, **options: Any) -> None:
        if args:
            raise BadOption(f"{cls.__name__} at {user_line()} takes its options by name: {', '.join(readers)}")
        values, wrong = read.read_all(options, readers)
        if not wrong:
            made(self, **values)
            wrong = list(self.between())  # type: ignore[attr-defined]
        if wrong:
            raise BadOption(f"{cls.__name__} at {user_line()}: {read.told(wrong)}")

    # What `help` and an editor show: names and defaults; what each may be is said in words.
    options = [inspect.Parameter(each.name, _KEYWORD, default=_said(each, _default(each))) for each in fields(cls)]  # type: ignore[arg-type]
    cls.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    taken = [inspect.Parameter("self", _POSITIONAL), inspect.Parameter("options", _VARIADIC)]
    init.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    init.__doc__ = "Take the options by their names, and tell all mistakes at once."
    cls.__init__ = init  # type: ignore[assignment]
    cls.__repr__ = _differing  # type: ignore[method-assign]
    return cls


def _differing(self: Any) -> str:
    """Tell the options that differ from their defaults, as they may be said."""
    told = [(each, getattr(self, each.name)) for each in fields(self)]
    options = [f"{each.name}={_said(each, value)!r}" for each, value in told if value != _default(each)]
    return f"{type(self).__name__}({', '.join(options)})"


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


def _said(option: Field[Any], value: Any) -> Any:
    """Return a size or a time as text, anything else as it is held."""
    if option.type != "int | str":
        return value
    large, many, small = ("g", 1_024, "m") if option.name == "memory" else ("s", 1_000, "ms")
    return f"{value}{small}" if value % many else f"{value // many}{large}"


@_told_at_once
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Resources:
    """What a process may use: `cpu` in cores, `memory` such as `"2g"` (held in MiB)."""

    cpu: float = 1.0
    memory: int | str = 2048

    READERS: ClassVar[Mapping[str, read.Read]] = {
        "cpu": read.number(0.1, 512),
        "memory": read.memory("1g", "4t"),
    }

    def between(self) -> list[str]:
        return []


@_told_at_once
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Autoscaler:
    """The bounds within which the operator may change the parallelism of a stage, and how it decides."""

    min_parallelism: int = 1
    max_parallelism: int = 16
    utilization: float = 0.7
    stabilization: int | str = 300_000
    window: int | str = 600_000

    READERS: ClassVar[Mapping[str, read.Read]] = {
        "min_parallelism": read.whole(1, MOST_PARALLEL),
        "max_parallelism": read.whole(1, MOST_PARALLEL),
        "utilization": read.number(0.1, 0.99),
        "stabilization": read.duration("0s", "1d"),
        "window": read.duration("10s", "1d"),
    }

    def between(self) -> list[str]:
        if self.min_parallelism > self.max_parallelism:
            return [f"min_parallelism={self.min_parallelism} is more than max_parallelism={self.max_parallelism}"]
        return []


@_told_at_once
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Restart:
    """What happens when a job fails: `"exponential-delay"`, `"fixed-delay"`, `"failure-rate"` or `"none"`.

    `attempts` are those in all, or with "failure-rate" those in `interval`. With "exponential-delay" the pause grows
    from `delay` to `max_delay`, without an end unless `attempts` are given.
    """

    strategy: Literal["exponential-delay", "fixed-delay", "failure-rate", "none"] = "exponential-delay"
    attempts: int | None = None
    delay: int | str = 1_000
    max_delay: int | str = 60_000
    interval: int | str = 300_000

    READERS: ClassVar[Mapping[str, read.Read]] = {
        "strategy": read.choice("exponential-delay", "fixed-delay", "failure-rate", "none"),
        "attempts": read.optional(read.whole(1, 2**31 - 1)),
        "delay": read.duration("1ms", "1d"),
        "max_delay": read.duration("1ms", "1d"),
        "interval": read.duration("1s", "30d"),
    }

    def between(self) -> list[str]:
        if self.strategy == "none" and self.attempts is not None:
            return [f"attempts={self.attempts} with strategy='none', which never tries again"]
        if self.strategy == "exponential-delay" and int(self.delay) > int(self.max_delay):
            return [f"delay={self.delay}ms is more than max_delay={self.max_delay}ms"]
        return []


def _secret_reference(value: Any) -> str:
    # What does not fit may be the secret itself, so it is not told.
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9._-]+", value):
        raise read.Wrong("it is to name a key of a Secret of the cluster, as 'kafka/password'; never the secret itself")
    return value


def _variable(value: Any) -> str:
    if not isinstance(value, str) or not VARIABLE.fullmatch(value):
        raise read.Wrong(f"{shown(value)} is not the name of an environment variable")
    return value


def _plain_text(value: Any) -> str:
    if not isinstance(value, str):
        raise read.Wrong(f"{shown(value)} is not a str")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise read.Wrong("it is no text that UTF-8 can hold") from None
    if "\0" in value or size > 1 << 17:
        raise read.Wrong("it is no value that a variable can have")
    return value


def _configuration_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise read.Wrong(f"{shown(value)} is not a str or a number")
    return str(value)


def _stage(value: Any) -> str:
    return str(read.pattern(NAME_PATTERN.strip("^$"), "the name of a stage")(value))


def _public(reader: read.Read, *faults: Callable[[str, Any], str]) -> read.Read:
    """Return a reader of names and values that anybody may read, which says what is wrong with any of them."""

    def read_all(given: Any) -> Any:
        items = given.items() if isinstance(given, Mapping) else ()
        named = [(name, value) for name, value in items if isinstance(name, str)]
        wrong = [told for fault in faults for name, value in named if (told := fault(name, value))]
        try:
            values = reader(given)
        except read.Wrong as error:
            raise read.Wrong("; ".join([str(error), *wrong])) from None
        if wrong:
            raise read.Wrong("; ".join(wrong))
        return values

    return read_all


def _secret(way: str) -> Callable[[str, Any], str]:
    def fault(name: str, value: Any) -> str:
        found = looks_secret(name) or any(written_out({name: value}))
        return f"`{name}` looks like a secret; {way}" if found else ""

    return fault


@_told_at_once
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Flink:
    """A Flink cluster on Kubernetes, and how a job is to run on it. Every option has a default.

    The job and its place
        name, image             made from the stream if left out
        namespace, node_selector, labels, service_account, image_pull_policy
                                as Kubernetes has them
        data                    the claim of a volume that all pods share, at `/data`, where relative paths of the
                                graph begin
    Size
        parallelism             of every stage
        stage_parallelism       of those named in it: `{"hourly": 4}`
        max_parallelism         how far it may be raised later: the number of key groups
        slots                   instances of stages in one process
        job_manager, task_manager
                                `{"cpu": 2, "memory": "4g"}` for a process
        autoscaler              `{"min_parallelism": 2, "max_parallelism": 32}`; none if left out
    When something fails
        checkpoint_interval, checkpoint_timeout
                                such as `"10s"`
        checkpoint_storage      where they go; into `data` if left out
        state_backend           `"hashmap"`, in memory, or `"rocksdb"`, on disk
        restart                 `"exponential-delay"`, `"fixed-delay"`, `"failure-rate"`, `"none"`, or a dict of a
                                strategy with its options
        upgrade                 what a changed job begins with: `"savepoint"`, `"stateless"`, or with
                                high_availability `"last-state"`
        high_availability       whether a JobManager that dies is followed by one that knows the job
    What the job is told
        environment             variables, as plain text
        secrets                 variables by the key of a Secret: `{"KAFKA_PASSWORD": "kafka/password"}`, to which the
                                graph says `env:KAFKA_PASSWORD`
        configuration           more of Flink's own options

    >>> Flink(parallelism=8, task_manager={"cpu": 2, "memory": "4g"})
    Flink(parallelism=8, task_manager=Resources(cpu=2.0, memory='4g'))
    """

    name: str | None = None
    image: str | None = None
    namespace: str = "default"
    parallelism: int = 1
    stage_parallelism: Mapping[str, int] = field(default_factory=dict)
    max_parallelism: int | None = None
    slots: int = 1
    job_manager: Resources | Mapping[str, Any] = Resources(cpu=1, memory="2g")
    task_manager: Resources | Mapping[str, Any] = Resources(cpu=1, memory="4g")
    checkpoint_interval: int | str = 10_000
    checkpoint_timeout: int | str = 600_000
    checkpoint_storage: str | None = None
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    upgrade: Literal["savepoint", "last-state", "stateless"] = "savepoint"
    restart: Restart | str | Mapping[str, Any] = Restart()
    high_availability: bool = False
    autoscaler: Autoscaler | Mapping[str, Any] | None = None
    data: str = "dataflare-data"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)

    READERS: ClassVar[Mapping[str, read.Read]] = {
        # The operator adds to the name, and a label has at most 63 signs.
        "name": read.optional(
            read.pattern(r"[a-z]([a-z0-9-]{0,43}[a-z0-9])?", "a name of at most 45 letters, digits and '-'")
        ),
        "image": read.optional(read.image),
        "namespace": read.dns_label,
        "parallelism": read.whole(1, MOST_PARALLEL),
        "stage_parallelism": read.mapping(_stage, read.whole(1, MOST_PARALLEL)),
        "max_parallelism": read.optional(read.whole(1, MOST_PARALLEL)),
        "slots": read.whole(1, 256),
        "job_manager": read.nested(Resources),
        "task_manager": read.nested(Resources),
        "checkpoint_interval": read.duration("100ms", "1d"),
        "checkpoint_timeout": read.duration("1s", "1d"),
        "checkpoint_storage": read.optional(read.storage),
        "state_backend": read.choice("hashmap", "rocksdb"),
        "upgrade": read.choice("savepoint", "last-state", "stateless"),
        "restart": lambda value: read.nested(Restart)({"strategy": value} if isinstance(value, str) else value),
        "high_availability": read.flag,
        "autoscaler": read.optional(read.nested(Autoscaler)),
        "data": read.dns_name,
        "node_selector": read.mapping(read.label_name, read.label_value),
        "labels": read.mapping(read.label_name, read.label_value),
        "service_account": read.optional(read.dns_name),
        "image_pull_policy": read.choice("Always", "IfNotPresent", "Never"),
        "environment": _public(read.mapping(_variable, _plain_text), _secret("name a key of a Secret in secrets=")),
        "secrets": read.mapping(_variable, _secret_reference),
        "configuration": _public(
            read.mapping(read.pattern(r"[a-z][a-zA-Z0-9._-]*", "a key of Flink's configuration"), _configuration_value),
            lambda name, _: f"`{name}` is ours to set" if name.startswith(_KEYS_OF_OURS) else "",
            _secret("Flink reads such values from a Secret, see its manual"),
        ),
    }

    @staticmethod
    def local(
        *,
        task_managers: int = 2,
        slots: int = 1,
        port: int | None = None,
        environment: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> LocalCluster:
        """Start a real cluster of this machine, for `stream.deploy(cluster, out=..., submit=True)`.

        The first time it makes an environment for apache-flink, 1.1 GB, in `environment` or a folder of its own; Java
        17 or newer must be there. Flink's page is at `port` of this machine, or a free one. `options` are those of
        `Flink`. The processes end with the `with`, or with this one.
        """
        from .local.cluster import LocalCluster

        return LocalCluster(
            task_managers=task_managers, slots=slots, port=port, environment_folder=environment, options=options
        )

    def between(self) -> list[str]:
        """Name what does not hold between options that are each right."""
        wrong = []
        highest = self.key_groups
        for what, parallel in (("parallelism", self.parallelism), *self.stage_parallelism.items()):
            if parallel > highest:
                where = what if what == "parallelism" else f"stage_parallelism[{what!r}]"
                wrong.append(f"{where}={parallel} is more than max_parallelism={highest}")
        if isinstance(self.autoscaler, Autoscaler) and self.autoscaler.max_parallelism > highest:
            wrong.append(
                f"autoscaler: max_parallelism={self.autoscaler.max_parallelism} is more than max_parallelism={highest}"
            )
        if self.upgrade == "last-state" and not self.high_availability:
            wrong.append("upgrade='last-state' finds its state through high_availability=True")
        if int(self.checkpoint_timeout) < int(self.checkpoint_interval) // 100:
            wrong.append("checkpoint_timeout is less than a hundredth of checkpoint_interval")
        wrong += [f"`{name}` is in environment and in secrets" for name in self.environment if name in self.secrets]
        return wrong

    @property
    def key_groups(self) -> int:
        """The maximum parallelism: as told, or at least 128 and four key groups for each of the widest stage."""
        if self.max_parallelism is not None:
            return self.max_parallelism
        widest = max(self.parallelism, *self.stage_parallelism.values(), 32)
        if isinstance(self.autoscaler, Autoscaler):
            widest = max(widest, self.autoscaler.max_parallelism)
        return min(MOST_PARALLEL, 1 << (4 * widest - 1).bit_length())

    @property
    def task_managers(self) -> int:
        """How many processes the parallelism needs."""
        return -(-max(self.parallelism, *self.stage_parallelism.values(), 1) // self.slots)

    @property
    def checkpoints(self) -> str:
        """Where checkpoints go."""
        return self.checkpoint_storage or "file:///data/.flink"
