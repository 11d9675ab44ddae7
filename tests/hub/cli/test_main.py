"""The command `transformers-buckets`: what it prints, what it changes, how it exits."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants

from tests.hub.cli.command import run
from transformers_buckets import __version__, local_hub
from transformers_buckets.cli import main


def test_help_is_quick_for_it_imports_nothing_large():
    script = "import atexit, sys; from transformers_buckets.cli import main; "
    script += "large = {'torch', 'transformers', 'accelerate', 'starlette'}; "
    script += "atexit.register(lambda: print(large & set(sys.modules))); main(['--help'])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert result.returncode == 0
    assert "prune" in result.stdout and result.stdout.endswith("set()\n")


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert (exit.value.code, capsys.readouterr().out) == (0, f"transformers_buckets {__version__}\n")


def test_python_m_is_the_same_command():
    result = subprocess.run([sys.executable, "-m", "transformers_buckets", "ls"], capture_output=True, text=True)

    assert result.returncode == 2
    assert "usage: transformers-buckets ls" in result.stderr


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (1, ["ls", "demo/there-is-none"], "there is no such bucket"),
        (1, ["pull", "there-is-none/best"], "write its namespace, too"),
        (1, ["prune", "{address}/elsewhere", "--keep", "1"], "but the bucket has the folders checkpoint-2"),
        (2, ["prune", "{address}"], "say what to keep: --keep N"),
        (2, ["pull", "{address}/checkpoint-5", "--best"], "leave out --best"),
        (1, ["pull", "{address}/checkpoint-5"], "there are checkpoint-2, checkpoint-4, checkpoint-6"),
        (1, ["verify", "{address}/elsewhere"], "but the bucket has the folders checkpoint-2"),
        (1, ["ls", "{address}/elsewhere"], "holds no committed checkpoint"),
        (2, ["ls", "hf://models/demo/x"], "not the address of a bucket"),
        (2, ["prune", "{address}/checkpoint-4", "--keep", "1"], "names a checkpoint"),
        (2, ["adopt", "{address}"], "names no checkpoint"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(address, capsys, code, arguments, message):
    result = run(capsys, *(argument.format(address=address) for argument in arguments))

    assert result[:2] == (code, "")
    assert message in result[2] and result[2].startswith("transformers-buckets: ") and result[2].count("\n") == 1


@pytest.mark.parametrize("status", [401, 403, 500])
def test_the_way_out_is_one_that_a_command_has(address, hub, capsys, monkeypatch, status):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the attempts of huggingface_hub
    hub.fault("GET /api/buckets", status=status, times=None)

    code, _, err = run(capsys, "ls", address)

    assert code == 1 and str(status) in err
    assert "push_to_bucket" not in err and "hub_token" not in err


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", b"<p>Please log in"), ("application/json", b'{"a": 1}'), ("application/json", b"[1]")],
)
def test_what_answers_is_not_a_hub(capsys, monkeypatch, kind, body):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        result = run(capsys, "ls", "demo/x")
        server.shutdown()

    assert result[:2] == (1, "")
    assert f"what answers at {endpoint} is not a Hub" in result[2] and result[2].count("\n") == 1


@pytest.mark.parametrize("body", [{"x": 1}, ["x"], {"name": None}, "x"], ids=repr)
def test_whoever_does_not_say_who_i_am_is_not_a_hub(hub, capsys, tmp_path, body):
    hub.fault("whoami", body=body, times=None)

    for command in (["ls", "my-run"], ["rm", "my-run/checkpoint-1", "--yes"]):
        code, out, err = run(capsys, *command)
        assert (code, out) == (1, "")
        assert f"what answers at {hub.endpoint} is not a Hub" in err and err.count("\n") == 1


def test_a_typo_in_an_option_is_wrong_usage(capsys):
    for arguments in (["prune", "demo/x", "--keep", "0"], ["prune", "demo/x", "--keep", "x"], ["lst", "demo/x"], []):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 2
        assert "_positive" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["ls", "pull", "export", "push", "verify", "watch", "promote", "prune", "rm", "adopt"]
)
def test_every_command_can_print_json_and_has_a_help(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert exit.value.code == 0 and "--json" in out and "namespace/name" in out


def test_hub_hands_over_to_the_local_hub(mocker, monkeypatch, capsys):
    serve = mocker.patch.object(local_hub, "main", return_value=0)
    assert main(["hub", "--dir", "data", "--help"]) == 0
    serve.assert_called_once_with(["--dir", "data", "--help"])

    monkeypatch.setitem(sys.modules, "transformers_buckets.local_hub", None)
    assert main(["hub", "--dir", "data"]) == 1
    assert "pip install 'transformers_buckets[hub]'" in capsys.readouterr().err
