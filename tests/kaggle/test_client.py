"""Calls through Kaggle's own client against a fake Kaggle on loopback: retries, error messages, secrets."""

import io
import os
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.credentials import redacted, sources
from dfdc_kit.kaggle.download.sample import bundle_link, file_link, list_files
from dfdc_kit.kaggle.retry import RetryPolicy, retry_after_s
from fake_kaggle import KEY, TOKEN

SECRETS = (KEY, TOKEN, "planted", "YWRhOn")  # the last: the head of Basic credentials


@pytest.fixture
def waits():
    return []


@pytest.fixture
def retry(waits):
    return RetryPolicy(sleep=waits.append)


@pytest.fixture
def kaggle(kaggle_server, retry):
    return connect(retry=retry, timeout_s=20)


def fault_of(function, *arguments, **options) -> KaggleError:
    with pytest.raises(KaggleError) as caught:
        function(*arguments, **options)
    assert caught.value.__cause__ is None
    said = f"{caught.value} {caught.value.hint}"
    assert not [secret for secret in SECRETS if secret in said]
    return caught.value


def test_list_files_reads_every_page(kaggle, kaggle_server):
    kaggle_server.world.files = {f"test_videos/{n:04d}.mp4": b"x" * n for n in range(450)}
    files = list_files(kaggle, kaggle_server.world.slug)
    assert [file.size_bytes for file in files] == list(range(450))
    assert len(kaggle_server.calls("ListDataFiles")) == 3


def test_links_are_signed(kaggle, kaggle_server):
    kaggle_server.world.files = {"sample_submission.csv": b"filename,label\n"}
    assert "/files/sample_submission.csv?" in file_link(kaggle, kaggle_server.world.slug, "sample_submission.csv")
    assert "/archive.zip?" in bundle_link(kaggle, kaggle_server.world.slug)


def test_import_and_sign_in_print_nothing_in_verbose_mode(kaggle_server, tmp_path):
    code = "from dfdc_kit.kaggle.client import connect; from dfdc_kit.kaggle.download.sample import list_files\n"
    code += f"list_files(connect(), {kaggle_server.world.slug!r})"
    environment = {**os.environ, "VERBOSE": "1", "KAGGLE_API_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(kaggle_server.calls("IntrospectToken")) == 1  # ours; the one at import is kept away


def test_call_mutes_only_its_own_thread(kaggle):
    """The progress bar lives in another thread; only the client is silenced."""
    import threading

    def call(api):
        print("from the client")
        thread = threading.Thread(target=lambda: print("from a progress bar"))
        thread.start()
        thread.join()

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        kaggle.call("trying", call)
    assert out.getvalue() == "from a progress bar\n"


def test_call_times_out_when_the_server_is_silent(kaggle, kaggle_server):
    kaggle.timeout_s = 0.2
    kaggle_server.fault("hang", at="ListDataFiles", times=-1)
    assert fault_of(list_files, kaggle, kaggle_server.world.slug).reason == "timeout"


def test_sign_in_times_out_when_the_server_is_silent(kaggle_server, monkeypatch, retry):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle_server.fault("hang", at="IntrospectToken", times=-1)
    assert fault_of(connect, retry=retry, timeout_s=0.2).reason == "timeout"


@pytest.mark.parametrize("nested", [False, True])
def test_call_waits_as_long_as_retry_after_asks(kaggle, kaggle_server, waits, nested):
    kaggle_server.fault("status", at="ListDataFiles", status=429, headers={"Retry-After": "7"}, times=2, nested=nested)
    assert list_files(kaggle, kaggle_server.world.slug) == []
    assert waits == [7, 7]


def test_call_gives_up_after_repeated_429(kaggle, kaggle_server, waits):
    kaggle_server.fault("status", at="ListDataFiles", status=429, times=-1)
    assert fault_of(list_files, kaggle, kaggle_server.world.slug).reason == "too-many-requests"
    assert len(waits) == 5
    assert waits == sorted(waits)
    assert sum(waits) <= 34


def test_long_retry_after_is_an_error_not_a_wait(kaggle, kaggle_server, waits):
    kaggle_server.fault("status", at="ListDataFiles", status=429, headers={"Retry-After": "7200"})
    assert fault_of(list_files, kaggle, kaggle_server.world.slug).reason == "too-many-requests"
    assert waits == []


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "reset"}])
def test_server_errors_and_broken_connections_are_retried(kaggle, kaggle_server, waits, fault):
    kaggle_server.fault(at="ListDataFiles", times=3, **fault)
    assert list_files(kaggle, kaggle_server.world.slug) == []
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("fault", "calls"),
    [({"kind": "status", "status": 500}, 1), ({"kind": "reset"}, 1), ({"kind": "status", "status": 429}, 2)],
)
def test_unrepeatable_call_is_retried_only_after_429(kaggle, kaggle_server, fault, calls):
    kaggle_server.fault(at="GetSubmissionLimits", **fault)
    try:
        kaggle.call(
            "handing in",
            lambda api: api.competition_get_submission_limits(kaggle_server.world.slug),
            repeatable=False,
        )
    except KaggleError:
        assert calls == 1
    assert len(kaggle_server.calls("GetSubmissionLimits")) == calls


def test_unaccepted_rules_hint_names_the_page(kaggle, kaggle_server):
    kaggle_server.world.rules_accepted = False
    fault = fault_of(bundle_link, kaggle, kaggle_server.world.slug)
    assert fault.reason == "rules"
    assert "https://www.kaggle.com/competitions/deepfake-detection-challenge/rules" in fault.hint


def test_missing_file_hint_names_the_browser_download(kaggle, kaggle_server):
    fault = fault_of(file_link, kaggle, kaggle_server.world.slug, "dfdc_train_all.zip")
    assert fault.reason == "not-found"
    assert "dfdc data add" in fault.hint


def test_connect_without_credentials_sends_nothing(kaggle_server, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    fault = fault_of(connect)
    assert fault.reason == "no-credentials"
    assert "access_token" in fault.hint
    assert kaggle_server.requests == []


def test_wrong_key_is_reported_by_its_place(kaggle_server, monkeypatch, retry):
    monkeypatch.setenv("KAGGLE_KEY", "planted-wrong-key")
    fault = fault_of(lambda: list_files(connect(retry=retry), kaggle_server.world.slug))
    assert fault.reason == "bad-credentials"
    assert "KAGGLE_KEY" in str(fault)


def test_connect_refuses_an_invalid_token_that_hides_a_valid_key(kaggle_server, monkeypatch, retry):
    """The client itself reports the key as its method, and sends the token."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", "planted-bad-token")
    fault = fault_of(connect, retry=retry)
    assert fault.reason == "bad-credentials"
    assert "KAGGLE_API_TOKEN" in str(fault)
    assert "KAGGLE_USERNAME" in str(fault)
    assert fault.command == "unset KAGGLE_API_TOKEN"


def test_connect_fails_when_the_only_token_is_invalid(kaggle_server, monkeypatch, retry):
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "planted-bad-token")
    assert fault_of(connect, retry=retry).reason == "bad-credentials"


def test_connect_uses_the_token_file(kaggle_server, monkeypatch, tmp_path, retry):
    monkeypatch.delenv("KAGGLE_KEY")
    (tmp_path / "home" / ".kaggle" / "access_token").write_text(TOKEN)
    assert connect(retry=retry).user == "ada"
    assert [source.place for source in sources()] == ["~/.kaggle/access_token"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'{{"username": "ada", "key": "{KEY}"}}', ""),
        ('{"key": "planted-key-alone"}', "cannot use the credentials in"),
        ('{"username": "ada", "key": "planted-wrong-key"}', "rejects the credentials in"),
        ('{"key": "planted', "is not valid JSON (cut off?)"),
    ],
)
def test_kaggle_json_is_used_or_its_fault_reported(kaggle_server, monkeypatch, tmp_path, dfdc_process, content, said):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.write_text(content)
    path.chmod(0o600)
    done = dfdc_process("download", "sample", "--dry-run")  # the client finds its file when it is imported
    assert done.returncode == (5 if said else 0)
    assert said in done.stderr
    assert "planted" not in (done.stdout + done.stderr).replace(str(tmp_path), "")


def test_expired_login_is_reported_by_its_place(kaggle_server, monkeypatch, tmp_path, retry):
    """The client deletes its file while it signs in."""
    monkeypatch.delenv("KAGGLE_KEY")
    login = tmp_path / "home" / ".kaggle" / "credentials.json"
    login.write_text('{"refresh_token": "planted-refresh", "username": "ada"}')
    kaggle_server.fault("status", at="GenerateAccessToken", status=401, message="no planted-refresh")
    fault = fault_of(connect, retry=retry)
    assert fault.reason == "bad-credentials"
    assert "~/.kaggle/credentials.json" in str(fault)
    assert not login.exists()


def test_wrong_clock_is_reported(kaggle_server, monkeypatch, retry):
    monkeypatch.setenv("KAGGLE_KEY", "planted-wrong-key")
    kaggle_server.world.clock_offset_s = -7200
    fault = fault_of(lambda: list_files(connect(retry=retry), kaggle_server.world.slug))
    assert fault.reason == "clock"
    assert "120 minutes ahead" in str(fault)


def test_dead_proxy_is_reported_after_few_attempts(kaggle, kaggle_server, monkeypatch, waits):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://u:planted@127.0.0.1:{port}")
    monkeypatch.setenv("http_proxy", f"http://u:planted@127.0.0.1:{port}")
    fault = fault_of(list_files, kaggle, kaggle_server.world.slug)
    assert fault.reason == "proxy"
    assert len(waits) < 3
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "PROD")  # through the dead HTTPS proxy: nothing leaves this machine
    kaggle.api.args = []
    assert fault_of(list_files, kaggle, kaggle_server.world.slug).reason == "proxy"


def test_refused_connection_is_reported_as_offline(kaggle, monkeypatch, waits):
    import requests

    def call(_):
        requests.get("http://127.0.0.1:9/", proxies={"http": ""})

    assert fault_of(kaggle.call, "trying", call).reason == "offline"
    assert len(waits) == 2


def test_missing_kaggle_package_names_the_extra(kaggle_server, tmp_path):
    code = (
        "import sys; sys.modules['kaggle'] = None\n"
        "from dfdc_kit.kaggle.client import connect\n"
        "try: connect()\nexcept Exception as error: print(error.command)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'pip install "dfdc-starter-kit[kaggle]"\n'


def test_unwritable_settings_folder_is_reported(kaggle_server, tmp_path):
    (tmp_path / "file").write_text("")
    code = "from dfdc_kit.kaggle.client import connect\n"
    code += "try: connect()\nexcept Exception as error: print(error, error.command)"
    environment = {**os.environ, "KAGGLE_CONFIG_DIR": str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "cannot make its settings folder" in done.stdout
    assert "KAGGLE_CONFIG_DIR" in done.stdout


def test_retry_after_is_read_as_seconds_or_date():
    def asked(text):
        return retry_after_s(SimpleNamespace(headers={"Retry-After": text} if text else {}))

    assert asked("120") == 120
    assert asked("-5") == 0
    assert 50 < asked(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert asked("Wed, 11 Dec 2019 23:47:00 GMT") == 0
    assert asked("soon") is None
    assert asked("") is None


def test_waits_double_until_the_longest(kaggle_server, waits):
    kaggle_server.fault("status", at="ListDataFiles", status=503, times=-1)
    retry = RetryPolicy(attempts=6, first_wait_s=1, longest_wait_s=4, sleep=waits.append)
    fault_of(list_files, connect(retry=retry), kaggle_server.world.slug)
    for wait_s, base_s in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert base_s <= wait_s <= base_s + 0.5 or wait_s == 4


def test_redacted_removes_keys_tokens_and_signatures(kaggle_server):
    text = f"GET https://storage.example/a.zip?X-Goog-Signature=abc&x=1 with Bearer {TOKEN} and {KEY}. Was it there?"
    clean = redacted(text)
    assert KEY not in clean
    assert TOKEN not in clean
    assert "abc" not in clean
    assert clean.endswith("Was it there?")


TOKEN_FILES = [
    (TOKEN.encode("utf-8-sig"), "starts with a byte order mark"),
    (TOKEN.encode("utf-16"), "is UTF-16 text"),
    (TOKEN.encode("utf-16-le"), "is UTF-16 text"),
    (b"planted\xff\xfe", "is not UTF-8 text"),
]


@pytest.mark.parametrize(("content", "fault"), TOKEN_FILES)
def test_broken_token_file_is_reported(kaggle_server, monkeypatch, tmp_path, content, fault):
    monkeypatch.delenv("KAGGLE_KEY")
    (tmp_path / "home" / ".kaggle" / "access_token").write_bytes(content)
    error = fault_of(connect)
    assert (error.reason, f"~/.kaggle/access_token {fault}" in str(error)) == ("bad-credentials", True)
    assert kaggle_server.requests == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (f'{{"username": "ada", "key": "{KEY}"}}'.encode("utf-8-sig"), "starts with a byte order mark"),
        (f'{{"username": "ada", "key": "{KEY}"}}'.encode("utf-16"), "is UTF-16 text"),
        (f'{{"username": "ada", "key": "{KEY}'.encode(), "is not valid JSON (cut off?)"),
        (b'["planted"]', "is not a JSON object"),
        (b'{"username": "ada"}', 'has no "key"'),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_broken_kaggle_json_is_reported(kaggle_server, monkeypatch, tmp_path, content, fault):
    monkeypatch.delenv("KAGGLE_KEY")
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.mkdir() if content is None else path.write_bytes(content)
    error = fault_of(connect)
    assert (error.reason, f"kaggle.json {fault}" in str(error)) == ("bad-credentials", True)


def test_broken_kaggle_json_does_not_matter_beside_valid_variables(kaggle_server, tmp_path):
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text("{cut off")
    assert connect().user == "ada"
