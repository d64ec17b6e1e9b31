"""What a user reads when a job server is away, is another server, or refuses; and what the cluster's checks say."""

import json
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stablesweep.cli import main
from stablesweep.errors import StablesweepError
from stablesweep.findings import JSON_PREFIX, Finding
from stablesweep.home import Home
from stablesweep.study_file import load_study
from stablesweep.submission import client
from stablesweep.submission.asking import JobServerError, Unreachable
from stablesweep.submission.checks import ChecksFailed, parse_findings, refuse_if_wrong, render_findings
from stablesweep.submission.client import Job, JobServer, connect, server_address
from stablesweep.submission.follow import Follower, describe_end
from stablesweep.submission.job_file import JobFile, job_file, keep_job, kept_job, newest_job
from stablesweep.submission.submit import Request, refuse_secrets, submit_study
from tests.ray_cluster import free_port

TOKEN = "5ec2e7" * 10 + "abcd"
STUDY = "name: mine\ndataset: digits\narms: [vit_p_micro/adamw]\nspace: {lr: 0.001, weight_decay: 0.001}\n"
STUDY += "phases: {stability: {draws: 1, epochs: 1}}\n"


@contextmanager
def server(status: int, body: str) -> Iterator[str]:
    """An HTTP server that gives one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_server_that_is_away() -> None:
    with pytest.raises(Unreachable, match=r"no answer; is the cluster running"):
        connect(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, "not here", "this is no job server of Ray"),
        (200, "<html>hello</html>", "this is no job server of Ray"),
        (200, '{"version": 3}', "this is no job server of Ray"),
        (200, '{"ray_version": "2.59.1"}', "runs Ray 2.59.1, and studies need at least 2.60"),
        (401, "Unauthorized", "asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
    ],
)
def test_a_server_that_is_another_one(status: int, body: str, message: str) -> None:
    with server(status, body) as address, pytest.raises(JobServerError, match=message) as refused:
        connect(address)
    assert address in str(refused.value)


def test_a_token_over_an_open_network_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.warns(UserWarning, match="in the clear; use https, or a tunnel: ssh -L"):
        client._warn_of_open_token("http://head.example:8265")
    # A warning would be an error here.
    client._warn_of_open_token("http://127.0.0.1:8265")
    client._warn_of_open_token("https://head.example:8265")
    monkeypatch.delenv("RAY_AUTH_MODE")
    client._warn_of_open_token("http://head.example:8265")


def test_the_address_that_is_given_comes_before_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(JobServerError, match="no job server is named; give --address"):
        server_address(None)
    monkeypatch.setenv("RAY_ADDRESS", "http://ray:8265")
    assert server_address(None) == "http://ray:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://api:443/")
    assert server_address(None) == "https://api:443"
    assert server_address("http://mine:8265") == "http://mine:8265"
    # Ray's own client would have asked the variable's.
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        connect(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://", "http://head:port", "ftp://head"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(JobServerError, match="write http://HOST:8265"):
        server_address(address)


def test_an_address_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(JobServerError, match="must hold no password") as refused:
        server_address("http://me:hunter2@head:8265")
    assert "hunter2" not in str(refused.value)


def test_submit_says_what_is_wrong_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    Path("study.yaml").write_text(STUDY)
    Path("wrong.yaml").write_text(STUDY.replace("arms", "amrs"))
    away = f"http://127.0.0.1:{free_port()}"
    for arguments, code, sentence in (
        (["wrong.yaml", "--address", away], 2, "amrs: unknown key"),
        (["study.yaml", "--address", away], 2, "no answer"),
        (["study.yaml"], 2, "no job server is named"),
        (["study.yaml", "--address", away, "--env", "RAY_AUTH_TOKEN"], 2, "the token is not handed over"),
        (["study.yaml", "--address", away, "--storage", f"s3://me:{TOKEN}@lab/x"], 1, "it holds a password"),
    ):
        result = CliRunner().invoke(main, ["submit", *arguments])
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith("Error: ")
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert TOKEN not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml", "wrong.yaml"]


@pytest.mark.parametrize(
    "storage",
    [
        "s3://me:hunter2@lab/x",
        "abfss://:hunter2@account.dfs.core.windows.net/x",
        "s3://me:hunter2/more@lab/x",
        "s3://lab/x?endpoint_override=http://me:hunter2@minio",
    ],
)
def test_a_storage_with_a_password_is_refused_without_showing_it(storage: str) -> None:
    with pytest.raises(StablesweepError, match="it holds a password") as refused:
        refuse_secrets(storage)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "storage",
    [
        "abfss://container@account.dfs.core.windows.net/x",
        "gs://anonymous@bucket/x",
        "hdfs://namenode:8020/user/me@lab",
        "s3://lab/x?endpoint_override=minio:9000",
        "/data/me:you@lab",
        None,
    ],
)
def test_a_storage_without_a_password(storage: str | None) -> None:
    refuse_secrets(storage)


def asked(**options: Any) -> Request:
    return Request(study=load_study("quickstart"), source="quickstart", check=False, **options)


class Sent(JobServer):
    """A job server that notes what it is sent, and what was kept by then, and gives one answer."""

    def __init__(self, home: Home, answer: JobServerError | None = None, status: str = "SUCCEEDED") -> None:
        self.address = "http://head:8265"
        self.status = status
        self.jobs_sent: list[tuple[str, str, Mapping[str, Any], Mapping[str, str]]] = []
        self.kept: list[JobFile | None] = []
        self._home, self._answer = home, answer

    def submit(
        self, submission_id: str, entrypoint: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        self.jobs_sent.append((submission_id, entrypoint, runtime_env, metadata))
        self.kept.append(kept_job(self._home, "quickstart"))
        if self._answer is not None:
            raise self._answer

    def job(self, submission_id: str) -> Job:
        return ended_job(self.status)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"home": "mine"}, "--home mine: .* which Ray deletes; give an absolute folder, or one that begins with ~."),
        ({"home": "s3://lab/x"}, "--home s3://lab/x: .*; give an absolute folder"),
        (
            {"storage": "./x"},
            r"--storage \./x: .* which Ray deletes; give an absolute folder that all nodes see, or a URI",
        ),
    ],
)
def test_a_place_in_the_folder_that_ray_deletes_is_refused(
    tmp_path: Path, options: dict[str, str], sentence: str
) -> None:
    home = Home.at(tmp_path)
    server = Sent(home)
    with pytest.raises(StablesweepError, match=sentence):
        submit_study(asked(**options), server, {}, home, print)
    assert server.jobs_sent == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("home", "storage"), [("/shared/home", "/shared/x"), ("~/home", "~/x"), ("~", "s3://lab/x?region=y")]
)
def test_a_place_that_outlasts_the_job_is_sent_as_it_is(tmp_path: Path, home: str, storage: str) -> None:
    server = Sent(Home.at(tmp_path))
    submit_study(asked(home=home, storage=storage), server, {}, Home.at(tmp_path), print)
    ((_, entrypoint, _, metadata),) = server.jobs_sent
    assert shlex.split(entrypoint)[-4:] == ["--home", home, "--storage", storage]
    assert metadata["stablesweep.home"] == home


def test_a_home_by_variable_is_kept_with_the_job(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    server = Sent(home)
    variables = {"STABLESWEEP_HOME": "/by/variable"}
    submit_study(asked(), server, variables, home, print)
    submit_study(asked(home="/by/option"), server, variables, home, print)
    assert [sent[3]["stablesweep.home"] for sent in server.jobs_sent] == ["/by/variable", "/by/option"]


def test_a_job_is_kept_before_it_is_sent_and_named_where_the_answer_is_lost(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    server = Sent(home, Unreachable("http://head:8265: no answer."))
    with pytest.raises(Unreachable) as lost:
        submit_study(asked(), server, {}, home, print)
    ((submission_id, *_),) = server.jobs_sent
    (kept,) = server.kept
    assert kept is not None
    assert kept.submission_id == submission_id
    assert str(lost.value) == (
        f"{submission_id}: this job may have been started, see "
        "`stablesweep status quickstart --address http://head:8265`: http://head:8265: no answer."
    )


def test_a_study_whose_job_still_runs_is_not_submitted_again(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    server = Sent(home, status="RUNNING")
    first = submit_study(asked(), server, {}, home, print)
    with pytest.raises(
        StablesweepError, match=r"quickstart: its job x is RUNNING at http://head:8265; .*stablesweep stop"
    ):
        submit_study(asked(), server, {}, home, print)
    assert len(server.jobs_sent) == 1
    kept = kept_job(home, "quickstart")
    assert kept is not None
    assert kept.submission_id == first
    server.status = "FAILED"
    assert submit_study(asked(), server, {}, home, print) != first


class Listed(JobServer):
    """A job server with these jobs of one study."""

    def __init__(self, *jobs: Job) -> None:
        self.address, self._jobs = "http://head:8265", jobs

    def jobs(self) -> list[Job]:
        return [replace(job, metadata={"stablesweep.study": "mine"}) for job in self._jobs]


def test_the_newest_job_is_one_that_runs_if_there_is_one() -> None:
    runs, failed = replace(ended_job("RUNNING"), submission_id="runs"), ended_job("FAILED")
    assert newest_job(Listed(runs, replace(failed, submitted_ms=7)), "mine").submission_id == "runs"
    later = replace(failed, submission_id="later", submitted_ms=7)
    assert newest_job(Listed(failed, later), "mine").submission_id == "later"


def test_a_storage_by_variable_is_looked_at_as_well(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    with pytest.raises(StablesweepError, match=r"--storage here: on the cluster it would lie in the job's own folder"):
        submit_study(asked(), Sent(home), {"STABLESWEEP_STORAGE": "here"}, home, print)


def test_a_job_that_is_not_known(tmp_path: Path) -> None:
    for command in ("logs", "stop"):
        result = CliRunner().invoke(main, [command, "mine", "--home", str(tmp_path)])
        assert result.exit_code == 1
        assert str(tmp_path) in result.stderr
        assert "no job of" in result.stderr


def test_a_damaged_job_file_is_named(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    job = JobFile(study="mine", address="http://h:8265", submission_id="x", submitted="2026-01-01T00:00:00+00:00")
    keep_job(home, job)
    assert kept_job(home, "mine") == job
    assert kept_job(home, "other") is None
    for text in ("{", "[]", '{"study": "mine"}', '{"study": 3}', '"x"'):
        job_file(home, "mine").write_text(text)
        with pytest.raises(StablesweepError, match=r"mine\.json: cannot be read.*give --address"):
            kept_job(home, "mine")


def test_the_default_home_of_a_job_outlasts_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert Home.at().path == tmp_path / "stablesweep-home"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "raysubmit_1"}}')
    assert Home.at().path == tmp_path / "me/stablesweep-home"
    assert Home.at("here").path == tmp_path / "me/here"
    assert Home.at(tmp_path / "here").path == tmp_path / "here"
    monkeypatch.setenv("STABLESWEEP_HOME", "by/variable")
    assert Home.at().path == tmp_path / "me/by/variable"
    monkeypatch.setenv("STABLESWEEP_HOME", "/shared/home")
    assert Home.at().path == Path("/shared/home")


FINDINGS = [
    {"name": "python", "ok": True, "found": "3.11.2", "way_out": None},
    {"name": "dataset", "ok": False, "found": "/data is not there", "way_out": "mount /data on every node."},
    {"name": "GPU", "ok": None, "found": "", "way_out": ""},
]


def test_findings_are_shown_with_the_versions_here_and_refuse_with_the_way_out() -> None:
    findings = parse_findings(f"Ray says hello\n{JSON_PREFIX}{json.dumps(FINDINGS)}\nand good-bye\n")
    assert findings is not None
    table = render_findings(findings, {"python": "3.12.0"}).splitlines()
    assert table[1].split() == ["python", "ok", "3.12.0", "3.11.2"]
    assert table[2].startswith("dataset")
    assert "wrong" in table[2]
    assert "not checked" in table[3]
    with pytest.raises(ChecksFailed, match=r"nothing was submitted: dataset: mount /data on every node\. --no-check"):
        refuse_if_wrong(findings)
    refuse_if_wrong([finding for finding in findings if finding.ok is not False])


def test_what_could_be_better_is_said_below_the_table() -> None:
    finding = Finding(name="resources", ok=None, found="Ray has 1 GPUs", way_out="set pack.gpus to train on the GPUs")
    lines = render_findings([finding]).splitlines()
    assert "note" in lines[1]
    assert lines[-1] == "resources: set pack.gpus to train on the GPUs"


@pytest.mark.parametrize("log", ["", "Error: no such command", f"{JSON_PREFIX}[", f"{JSON_PREFIX}[3]", JSON_PREFIX])
def test_findings_that_cannot_be_read(log: str) -> None:
    assert parse_findings(log) is None


class Script(JobServer):
    """A job server whose answers are written down: a status and a log for each time that it is asked."""

    def __init__(self, *answers: tuple[str, str] | None) -> None:
        self.address = "http://head:8265"
        self._answers = list(answers)
        self._log = ""

    def job(self, submission_id: str) -> Job:
        answer = self._answers.pop(0)
        if answer is None:
            raise Unreachable("away")
        status, self._log = answer
        return ended_job(status)

    def logs(self, submission_id: str) -> str:
        return self._log


def ended_job(status: str, exit_code: int | None = None, message: str = "") -> Job:
    return Job(
        submission_id="x",
        status=status,
        message=message,
        exit_code=exit_code,
        submitted_ms=0,
        metadata={},
        runtime_env={},
    )


def test_each_line_is_printed_once_though_the_server_is_away_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablesweep.submission.follow.POLL_S", 0.0)
    said: list[str] = []
    script = Script(
        ("PENDING", ""),
        ("RUNNING", "a\nb\nhalf"),
        None,
        None,
        ("RUNNING", "a\nb\nhalf a line\n"),
        ("SUCCEEDED", "a\nb\nhalf a line\nend"),
    )
    assert Follower(script, "x", said.append).follow().status == "SUCCEEDED"
    assert said == ["a\nb", "http://head:8265 does not answer; asking again until it does.", "half a line", "end"]


def test_a_server_that_stays_away_ends_following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablesweep.submission.follow.POLL_S", 0.0)
    monkeypatch.setattr("stablesweep.submission.follow.PATIENCE_S", -1.0)
    with pytest.raises(Unreachable):
        Follower(Script(None), "x", print).follow()


def test_how_a_job_ended_in_words() -> None:
    assert describe_end(ended_job("SUCCEEDED")).endswith("has ended well.")
    assert "trials left" in describe_end(ended_job("FAILED", 130))
    assert describe_end(ended_job("FAILED", 1, "Job entrypoint exited\nwith more")).endswith(
        "failed: Job entrypoint exited"
    )
    assert "was stopped" in describe_end(ended_job("STOPPED"))
