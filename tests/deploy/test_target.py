"""Every option of a target is read, and every mistake is told at once."""

from __future__ import annotations

import inspect
import pydoc
from dataclasses import fields
from typing import Any

import pytest

import dataflare_nb as flare
from dataflare_nb.deploy import Autoscaler, Resources, Restart
from dataflare_nb.errors import BadOption

REFUSED: list[tuple[str, Any, str]] = [
    ("name", "Hourly Flights", "not a name"),
    ("name", "a" * 46, "not a name"),
    ("image", "registry.example/Flights:1", "not an image"),
    ("image", 3, "not an image"),
    ("namespace", "a.b", "not a name"),
    ("parallelism", 0, "not between 1 and 32768"),
    ("parallelism", True, "not an int"),
    ("parallelism", 2.0, "not an int"),
    ("stage_parallelism", {"hourly": 0}, "at 'hourly', 0 is not between"),
    ("stage_parallelism", {"no name": 1}, "not the name of a stage"),
    ("stage_parallelism", 4, "not a dict"),
    ("max_parallelism", 40_000, "not between"),
    ("slots", 0, "not between"),
    ("job_manager", {"cpu": 0}, "cpu: 0 is not between"),
    ("task_manager", {"memory": "12"}, "memory: '12' is not a size"),
    ("task_manager", {"memory": "5t"}, "memory: '5t' is not between"),
    ("task_manager", {"ram": "2g"}, "`ram` is not an option"),
    ("task_manager", 2, "not a Resources"),
    ("checkpoint_interval", "1us", "not between"),
    ("checkpoint_interval", "soon", "write it as"),
    ("checkpoint_timeout", "2d", "not between"),
    ("checkpoint_storage", "bucket/flights", "not a URI"),
    ("checkpoint_storage", "s3://me:hunter2@bucket/flights", "holds a password"),
    ("checkpoint_storage", "file://host/flights", "has a host"),
    ("state_backend", "rocks", "not 'hashmap' or 'rocksdb'"),
    ("upgrade", "save-point", "Did you mean `savepoint`"),
    ("restart", "always", "not 'exponential-delay'"),
    ("restart", {"strategy": "none", "attempts": 3}, "never tries again"),
    ("restart", {"delay": "2m"}, "more than max_delay"),
    ("high_availability", "yes", "not True or False"),
    ("autoscaler", {"min_parallelism": 8, "max_parallelism": 4}, "more than max_parallelism=4"),
    ("autoscaler", {"utilization": 2}, "not between"),
    ("data", "Claim", "not a name"),
    ("node_selector", {"disk type": "ssd"}, "not a name of a label"),
    ("node_selector", {"disktype": "a b"}, "not a value of a label"),
    ("labels", {"team": 3}, "not a value of a label"),
    ("service_account", "Me", "not a name"),
    ("image_pull_policy", "Sometimes", "not 'Always'"),
    ("environment", {"1A": "x"}, "not the name of an environment variable"),
    ("environment", {"A": 1}, "not a str"),
    ("environment", {"DB_PASSWORD": "x"}, "looks like a secret"),
    ("environment", {"BROKER": "amqp://me:hunter2@host/x"}, "looks like a secret"),
    ("environment", {"A": "\ud800"}, "no text that UTF-8 can hold"),
    ("secrets", {"KAFKA_PASSWORD": "hunter2"}, "never the secret itself"),
    ("configuration", {"python.executable": "x"}, "ours to set"),
    ("configuration", {"s3.secret-key": "x"}, "looks like a secret"),
    ("configuration", {"proxy": "http://me:hunter2@host"}, "looks like a secret"),
    ("configuration", {"akka": None}, "not a str or a number"),
]


@pytest.mark.parametrize(("option", "value", "told"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_does_not_hold_is_told(option: str, value: Any, told: str) -> None:
    with pytest.raises(BadOption) as caught:
        flare.Flink(**{option: value})
    assert option in str(caught.value)
    assert told in str(caught.value)
    assert "test_target.py, line" in str(caught.value)


def test_every_option_has_a_case_that_is_refused() -> None:
    assert {option for option, _, _ in REFUSED} == set(flare.Flink.READERS)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(BadOption) as caught:
        flare.Flink(paralelism=3, slots=0, upgrade="now", secrets={"A": "hunter2"})  # type: ignore[call-arg]
    told = str(caught.value)
    assert "Did you mean `parallelism`?" in told
    for option in ("slots", "upgrade", "secrets"):
        assert f"{option}: " in told


def test_a_secret_in_plain_text_is_told_beside_other_mistakes() -> None:
    with pytest.raises(BadOption) as raised:
        flare.Flink(
            environment={"PASSWORD": "x", "1": "y"},
            secrets={"A": "b"},
            parallelism=0,
            configuration={"python.executable": "x", "s3.secret-key": "x", "A": []},
        )
    for said in ("`PASSWORD` looks like", "'1' is not the name", "secrets: at 'A'", "parallelism: 0"):
        assert said in str(raised.value)
    for said in ("`python.executable` is ours", "`s3.secret-key` looks like", "at 'A', "):
        assert said in str(raised.value)


def test_a_target_is_shown_by_what_was_said_of_it() -> None:
    assert repr(flare.Flink()) == "Flink()"
    said = flare.Flink(
        parallelism=64, restart="none", task_manager={"cpu": 2, "memory": "1536m"}, checkpoint_interval="3s"
    )
    text = (
        "Flink(parallelism=64, task_manager=Resources(cpu=2.0, memory='1536m'), checkpoint_interval='3s', "
        "restart=Restart(strategy='none'))"
    )
    assert repr(said) == text
    # It may be said again.
    assert eval(text, {"Flink": flare.Flink, "Resources": Resources, "Restart": Restart}) == said


def test_help_has_each_option_in_words() -> None:
    told = pydoc.render_doc(flare.Flink, renderer=pydoc.plaintext)
    names = [each.name for each in fields(flare.Flink)]
    words = " ".join((flare.Flink.__doc__ or "").replace(",", " ").split())
    assert [name for name in names if f" {name} " not in words] == []
    assert list(inspect.signature(flare.Flink).parameters) == names
    assert "Literal[" not in told.partition("Static methods")[0]
    assert told.count("image_pull_policy='IfNotPresent'") == 1


def test_a_secret_is_never_told() -> None:
    for given in ({"secrets": {"A": "hunter2"}}, {"secrets": {"A": "/hunter2"}}, {"environment": {"TOKEN": "hunter2"}}):
        with pytest.raises(BadOption) as caught:
            flare.Flink(**given)  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value)


def test_options_that_are_right_alone_may_not_be_together() -> None:
    with pytest.raises(BadOption, match="parallelism=300 is more than max_parallelism=128"):
        flare.Flink(parallelism=300, max_parallelism=128)
    with pytest.raises(BadOption, match="high_availability=True"):
        flare.Flink(upgrade="last-state")
    with pytest.raises(BadOption, match="`A` is in environment and in secrets"):
        flare.Flink(environment={"A": "x"}, secrets={"A": "kafka/a"})
    with pytest.raises(BadOption, match="checkpoint_timeout"):
        flare.Flink(checkpoint_interval="1d", checkpoint_timeout="1s")


def test_what_holds_is_kept_in_one_unit() -> None:
    target = flare.Flink(
        checkpoint_interval="1m",
        task_manager={"cpu": 2, "memory": "4g"},
        restart="fixed-delay",
        autoscaler=Autoscaler(max_parallelism=64),
    )
    assert target.checkpoint_interval == 60_000
    assert target.task_manager == Resources(cpu=2.0, memory="4GiB")
    assert target.restart == Restart(strategy="fixed-delay")
    assert target == flare.Flink(
        checkpoint_interval="60s",
        task_manager=Resources(cpu=2, memory="4096m"),
        restart=Restart(strategy="fixed-delay"),
        autoscaler={"max_parallelism": 64},
    )


def test_key_groups_leave_room_to_grow() -> None:
    assert flare.Flink().key_groups == 128
    assert flare.Flink(parallelism=64).key_groups == 256
    assert flare.Flink(parallelism=4096).key_groups == 16_384
    assert flare.Flink(parallelism=2, max_parallelism=8).key_groups == 8
    assert flare.Flink(parallelism=10, slots=4).task_managers == 3
