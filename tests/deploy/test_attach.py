"""Attach to a job on a cluster: whom it finds, what it says when it cannot, what it shows, and how little it asks."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.deploy.layout import layout
from dataflare_nb.deploy.remote.sketch import KEY, Sketch
from dataflare_nb.errors import BadOption, ClusterError, DataflareError, JobError, JobStopped, JobTimeout, UnknownStage
from dataflare_nb.notebook.change import frame
from dataflare_nb.runtime.plan import plan

from .flink import Flink, served


def hourly() -> flare.Stream:
    rows = pl.DataFrame({"at": [0, 1], "key": ["a", "b"]})
    read = flare.from_frame(rows).named("rows").event_time("at", unit="s").filter(pl.col("key") != "c")
    return read.key_by("key").window(flare.tumbling("1m")).agg(n=pl.len()).named("hourly").write_parquet("out")


def running(flink: Flink, stream: flare.Stream | None = None, parallelism: int = 4, rows: int = 1_000) -> None:
    """Let the server run a stream as the workers do, all vertices at the same speed."""
    stream = stream or hourly()
    before = None
    for vertex in layout(stream.graph, plan(stream.graph), flare.Flink(parallelism=parallelism)):
        busy = {"sum": 800.0, "avg": 800.0, "min": 700.0, "max": 950.0}
        rest = {"sum": 100.0, "avg": 100.0, "min": 0.0, "max": 200.0}
        metrics = {
            "busyTimeMsPerSecond": busy,
            "idleTimeMsPerSecond": rest,
            "backPressuredTimeMsPerSecond": rest,
            "Shuffle.Netty.Input.Buffers.inPoolUsage": {"avg": 0.25},
            "numRecordsIn": {"sum": 10.0},
            f"{vertex.id}.rows": {"sum": float(rows)},
            f"{vertex.id}.{vertex.stages[-1]}.late": {"sum": 3.0},
            f"{vertex.id}.{vertex.stages[-1]}.watermark": {"min": 5e6, "sum": 9e9},
        }
        flink.vertex(f"{vertex.id} -> Map, _stream_key_by_map_operator", vertex.parallelism, before, **metrics)
        before = f"{vertex.id} -> Map, _stream_key_by_map_operator"
    flink.config[KEY] = Sketch.of_graph("hourly", stream.graph).written()


@pytest.fixture
def flink() -> Flink:
    made = Flink()
    running(made)
    return made


@pytest.fixture
def url(flink: Flink) -> Iterator[str]:
    with served(flink) as address:
        yield address


def test_a_job_is_found_by_name_by_id_and_by_being_the_only_one(flink: Flink, url: str) -> None:
    jid = flink.add("hourly")
    assert [flare.attach(url, job=name).id for name in ("hourly", jid)] == [jid, jid]
    assert flare.attach(url + "/#/overview").id == jid
    ended = flink.add("hourly", "FINISHED", start=9_000)
    assert flare.attach(url, job="hourly").id == jid
    assert flare.attach(url, job=ended).wait(5).status == "finished"


def test_what_there_is_instead_is_listed(flink: Flink, url: str) -> None:
    with pytest.raises(UnknownStage, match=r"no job runs at http://127.0.0.1"):
        flare.attach(url)
    first, second = flink.add("hourly"), flink.add("hourly")
    flink.add("daily", "CANCELED")
    with pytest.raises(UnknownStage, match=r"no job is called 'hourl' at .*Did you mean `hourly`\?") as no:
        flare.attach(url, job="hourl")
    assert "daily  canceled" in str(no.value)
    assert "test_attach.py, line" in str(no.value)
    with pytest.raises(BadOption, match=rf"2 jobs called 'hourly' run .*give the id of one\n.*({first}|{second})"):
        flare.attach(url, job="hourly")
    with pytest.raises(BadOption, match=r"several jobs run .*say which"):
        flare.attach(url)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:1", "no Flink answers at http://127.0.0.1:1: connection refused"),
        ("127.0.0.1:8081", r"does not say how to talk to it; 'http://127.0.0.1:8081'\?"),
        ("ftp://here", "http:// or https:// and a host"),
        ("http://", "http:// or https:// and a host"),
        ("http://here:abc", "a port that is none"),
        ("http://[::1", "a host that is none"),
        ("http://a..b:8081", "a host that is none"),
        (f"http://{'a' * 300}:8081", "a host that is none"),
        ("", "an address such as"),
        ("http://no.such.host.invalid:8081", "no Flink answers at http://no.such.host.invalid:8081"),
    ],
)
def test_an_address_that_is_none_says_what_one_is(address: str, says: str) -> None:
    with pytest.raises(DataflareError, match=says):
        flare.attach(address, timeout="3s")


def test_another_server_is_not_taken_for_flink(flink: Flink, url: str) -> None:
    flink.html = True
    with pytest.raises(ClusterError, match="answers /config with text/html, not as Flink does"):
        flare.attach(url)
    flink.status = 503
    with pytest.raises(ClusterError, match="HTTP 503"):
        flare.attach(url)
    flink.html = False
    with pytest.raises(ClusterError, match="refuses GET /config: Not found"):
        flare.attach(f"{url}/nowhere")


@pytest.mark.parametrize("odd", [3, [], {"jobs": None}, {"jobs": [{}]}, {"jobs": [{"jid": "x", "start-time": 1}]}])
def test_answers_of_another_form_are_those_of_no_flink(odd: object, flink: Flink, url: str) -> None:
    flink.odd["/jobs/overview"] = odd
    with pytest.raises(ClusterError, match="answers, but not as Flink does"):
        flare.attach(url)
    flink.odd.clear()
    jid = flink.add("hourly")
    job = flare.attach(url)
    flink.odd[f"/jobs/{jid}"] = odd
    assert job.status == "disconnected"
    assert "not as Flink does" in job.read().says
    job.detach()


def test_a_header_or_a_name_and_password_open_the_door_and_are_not_told(flink: Flink, url: str) -> None:
    flink.add("hourly")
    flink.headers = {"Authorization": "Bearer s3cret"}
    with pytest.raises(ClusterError, match="wants to know who asks"):
        flare.attach(url)
    assert flare.attach(url, headers={"Authorization": "Bearer s3cret"}).status == "running"
    flink.headers = {"Authorization": "Basic bWU6cEBzcw=="}
    job = flare.attach(url.replace("//", "//me:p%40ss@"))
    assert job.status == "running"
    assert "ss" not in repr(job).replace("class", "") + job.url
    with pytest.raises(BadOption, match="a sign that HTTP does not carry"):
        flare.attach(url, headers={"X": "a\r\nY: b"})


def test_redirects_are_followed_but_headers_go_to_no_other_host(flink: Flink, url: str) -> None:
    flink.add("hourly")
    flink.redirect = url
    job = flare.attach(f"{url}/old")
    assert job.status == "running"
    assert job.checkpoint() == 8
    # It goes straight to where it was led.
    assert [path for path in flink.asked if path.startswith("/old")] == ["/old/config"]
    flink.redirect = url.replace("127.0.0.1", "localhost")
    with pytest.raises(ClusterError, match=r"redirects to http://localhost:.*not sent your headers"):
        flare.attach(f"{url}/old", headers={"Authorization": "Bearer s3cret"})
    flink.redirect = f"{url}/old"
    with pytest.raises(ClusterError, match="redirects more than 5 times"):
        flare.attach(f"{url}/old")


def test_a_server_with_a_certificate_is_trusted_when_its_authority_is(flink: Flink, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    flink.add("hourly")
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(flink, tls=context) as url:
        with pytest.raises(ClusterError, match=r"certificate of https://127.0.0.1:\d+ is not trusted.*ca="):
            flare.attach(url)
        assert flare.attach(url, ca=certificate).status == "running"
        assert flare.attach(url, verify=False).status == "running"
        with pytest.raises(BadOption, match="cannot be read"):
            flare.attach(url, ca=tmp_path / "none.pem")
        with pytest.raises(ClusterError, match="no Flink answers"):
            flare.attach(url.replace("https", "http"))
    with served(flink) as plain, pytest.raises(ClusterError, match="does not speak TLS"):
        flare.attach(plain.replace("http", "https"))


def _certificate(folder: Path) -> tuple[Path, Path]:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


def test_flinks_vertices_carry_the_names_of_our_stages(flink: Flink, url: str) -> None:
    flink.add("hourly")
    job = flare.attach(url)
    assert [stage.label for stage in job.outline().stages] == ["rows +2", "hourly", "write parquet out"]
    assert job.parallelism == {**dict.fromkeys(job.parallelism, 1), "hourly": 4}
    told = job.metrics().filter(pl.col("stage") == "hourly").to_dicts()[0]
    assert (told["parallelism"], told["rows_in"], told["late"], told["busiest"]) == (4, 1_000, 3, 0.95)
    assert (told["busy"], told["queue_fill"], told["watermark"]) == (0.8, 0.25, dt.datetime(1970, 1, 1, 0, 0, 5))
    assert ("hourly", "late", 3) in job.ledger().rows()


@pytest.mark.slow
def test_rows_per_second_are_those_between_two_changes_of_the_counts(flink: Flink, url: str) -> None:
    flink.add("hourly")
    job = flare.attach(url)
    job.read()
    for number in range(2, 5):
        for vertex in flink.metrics.values():
            for name, value in vertex.items():
                if name.endswith(".rows"):
                    value["sum"] = 1_000.0 * number
        flink.elapsed += 1_000
        _until(lambda rows=1_000 * number: job.read().nodes["hourly"].rows_in == rows)
    lately = job.read().nodes["hourly"].lately
    assert lately is not None
    assert 50 < lately.rows_per_s <= 1_000
    assert [sample.rows_out["hourly"] for sample in job.history] == [1_000, 2_000, 3_000, 4_000]


def test_a_job_that_tells_nothing_is_shown_as_flink_has_it_or_by_a_stream_or_bundle(
    flink: Flink, url: str, tmp_path: Path
) -> None:
    flink.add("hourly")
    flink.config.clear()
    plain = flare.attach(url)
    labels = [stage.label for stage in plain.outline().stages]
    assert labels[1] == "hourly"
    assert labels[0].startswith("rows")
    assert plain.metrics().height == 3
    stream = hourly()
    bundle = stream.deploy(flare.Flink(), out=tmp_path / "x")
    for graph in (stream, bundle, bundle.folder, stream.graph):
        found = flare.attach(url, graph=graph)
        assert [stage.label for stage in found.outline().stages] == ["rows +2", "hourly", "write parquet out"]
    with pytest.raises(BadOption, match="runs another graph: it has no other"):
        flare.attach(url, graph=flare.rate(10).named("other"))
    with pytest.raises(BadOption, match="no bundle"):
        flare.attach(url, graph=tmp_path)
    flink.config[KEY] = "of another version"
    assert flare.attach(url).outline() == plain.outline()


@pytest.mark.slow
def test_a_look_at_sixty_vertices_of_a_thousand_instances_is_sixty_three_small_requests() -> None:
    flink = Flink()
    stream = flare.from_frame(pl.DataFrame({"at": [0], "key": ["a"]})).event_time("at", unit="s")
    for number in range(30):
        stream = (
            stream.key_by("key")
            .window(flare.tumbling("1m"))
            .agg(at=pl.col("at").max())
            .named(f"stage_{number}")
            .select("key", "at")
            .event_time("at")
        )
    running(flink, stream, parallelism=1_000)
    assert 58 <= len(flink.vertices) <= 62
    flink.add("deep")
    with served(flink) as url:
        job = flare.attach(url)
        job.read()
        # What metrics are called is asked once.
        flink.asked.clear()
        flink.answer_bytes = 0
        _until(lambda: job.read() and flink.asked)
        assert len(flink.asked) == 3 + len(flink.vertices)
        assert flink.answer_bytes < 150_000
        assert max(map(len, flink.asked)) < 2_000
        # A look takes a small part of the time, however long it takes.
        flink.asked.clear()
        for _ in range(50):
            job.read()
        assert flink.asked == []
        shown = frame(job.outline(), None, job.read())
        assert len(shown.numbers()) == 8 * (len(shown.fields["node"]) * len(flink.vertices) + len(job.outline().pipes))
        assert shown.document()["node"][1][shown.fields["node"].index("instances")] == 1_000
    assert len(flink.config[KEY]) < 8_000


@pytest.mark.slow
def test_a_server_that_goes_is_told_and_found_again_when_it_comes_back(flink: Flink) -> None:
    flink.add("hourly")
    with served(flink) as url:
        job = flare.attach(url)
        assert job.status == "running"
        rows = job.read().nodes["hourly"].rows_in
    _until(lambda: job.status == "disconnected")
    gone = job.read()
    assert "no Flink answers" in gone.says
    assert gone.nodes["hourly"].rows_in == rows
    with pytest.raises(JobTimeout, match="disconnected"):
        job.wait(0.3)
    with served(flink, port=int(url.rpartition(":")[2])):
        _until(lambda: job.status == "running")
    assert "answers again" in job.log()["text"].to_list()[-1]


@pytest.mark.slow
def test_a_job_that_the_cluster_has_forgotten_has_failed_with_the_reason(flink: Flink, url: str) -> None:
    flink.add("hourly")
    job = flare.attach(url)
    assert job.running
    flink.restarts = 1
    flink.trace = "java.io.IOException: No space left on device\n"
    _until(lambda: "starts the job again" in job.log()["text"].to_list()[-1])
    flink.jobs.clear()
    _until(lambda: job.status == "failed")
    with pytest.raises(
        ClusterError, match=r"knows no job .* any more; .*; before, .* failed with No space left on device"
    ):
        job.wait(5)


@pytest.mark.slow
def test_a_failure_is_told_with_the_cause_and_a_restart_in_the_log(flink: Flink, url: str) -> None:
    jid = flink.add("hourly")
    job = flare.attach(url)
    assert job.restarts == 0
    flink.trace = (
        "java.lang.RuntimeException: Error received from SDK harness\n\tat org.x\n"
        "Caused by: java.util.concurrent.ExecutionException: x\nTraceback (most recent call last):\n"
        "ValueError: the seventh row is odd\n\n\tat org.y\n"
    )
    flink.restarts = 1
    _until(lambda: job.restarts == 1)
    assert "Flink starts the job again: ValueError: the seventh row is odd" in job.log()["text"].to_list()
    assert job.exceptions().select("at", "cause").rows() == [
        (dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC), "ValueError: the seventh row is odd")
    ]
    flink._end(jid, "FAILED")
    with pytest.raises(JobError, match="job hourly failed on the cluster: ValueError: the seventh row is odd"):
        job.wait(10)


def test_what_is_asked_of_the_cluster_is_asked_in_its_words(flink: Flink, url: str) -> None:
    jid = flink.add("hourly")
    job = flare.attach(url)
    assert job.checkpoint() == 8
    assert job.take_savepoint("s3://bucket/x") == "file:/savepoints/1"
    flink.failure = "java.lang.Exception: x\nCaused by: java.io.IOException: the disk is full\n"
    with pytest.raises(ClusterError, match="took no savepoint: the disk is full"):
        job.stop_with_savepoint()
    assert job.running
    flink.failure = ""
    with pytest.raises(BadOption, match="drain=True is for windows of Flink's own"):
        job.stop_with_savepoint(drain=True)
    assert job.stop_with_savepoint() == "file:/savepoints/1"
    assert job.status == "stopped"
    assert flink.told[0] == ("POST", f"/jobs/{jid}/checkpoints", {"checkpointType": "CONFIGURED"})
    assert flink.told[1][2] == {"cancel-job": False, "target-directory": "s3://bucket/x"}
    assert flink.told[-1] == ("POST", f"/jobs/{jid}/stop", {"drain": False})
    with pytest.raises(JobStopped, match="is stopped"):
        job.checkpoint()
    flink.config = {}
    theirs = flare.attach(url, job=flink.add("theirs"))
    assert theirs.stop_with_savepoint(drain=True) == "file:/savepoints/1"
    assert flink.told[-1][2] == {"drain": True}
    other = flare.attach(url, job=flink.add("other"), graph=hourly())
    other.cancel()
    other.cancel()
    assert other.status == "stopped"
    assert flink.told[-1] == ("PATCH", f"/jobs/{other.id}?mode=cancel", None)


def test_what_a_job_on_a_cluster_cannot_do_is_not_there_and_says_why(flink: Flink, url: str) -> None:
    flink.add("hourly")
    job = flare.attach(url)
    for verb in ("pause", "resume", "step", "peek", "tap", "explain_window", "swap"):
        assert not hasattr(job, verb)
        assert verb not in job.steering()
    with pytest.raises(AttributeError, match="a job on Flink has no step"):
        job.step()
    with pytest.raises(BadOption, match="was not started here"):
        job.result()


def test_no_thread_is_left_and_a_job_that_is_let_go_of_is_asked_no_more(flink: Flink, url: str) -> None:
    jid = flink.add("hourly")
    before = {thread for thread in threading.enumerate() if "process_request" not in thread.name}
    job = flare.attach(url)
    job.read()
    job.detach()
    job.detach()
    assert {thread for thread in threading.enumerate() if "process_request" not in thread.name} == before
    flink.asked.clear()
    assert job.status == "detached"
    assert flink.asked == []
    with pytest.raises(JobStopped, match="detached"):
        job.checkpoint()
    assert flink._job(jid) == {**flink.jobs[0], "state": "RUNNING"}


def _until(holds: object, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
