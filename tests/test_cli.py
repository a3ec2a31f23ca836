"""The command line itself: help, exit statuses, and sentences instead of tracebacks."""

import subprocess
import sys

import pytest

from oorl.cli import COMMANDS, main
from oorl.errors import UsageError, UserError


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: oorl {command}" in said and "--debug" in said


def test_help_of_the_whole_names_every_command_and_loads_nothing_heavy():
    probe = "import sys; from oorl.cli import main; main([]); print('torch' in sys.modules, 'llvmlite' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout
    assert all(command in said for command in COMMANDS)
    assert said.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    "error, status, sentence",
    [
        (UserError("no such thing"), 1, "oorl doctor: no such thing"),
        (UsageError("not like this"), 2, "oorl doctor: not like this"),
        (ModuleNotFoundError("No module named 'tqdm'", name="tqdm"), 1, 'pip install "oorl-kernels[eval]"'),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_mistakes_become_one_sentence_and_a_status(monkeypatch, capsys, error, status, sentence):
    def fail(args):
        raise error

    monkeypatch.setattr("oorl.doctor.run", fail)
    assert main(["doctor"]) == status
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_debug_shows_the_traceback(monkeypatch):
    def fail(args):
        raise UserError("no such thing")

    monkeypatch.setattr("oorl.doctor.run", fail)
    with pytest.raises(UserError):
        main(["doctor", "--debug"])
