import signal
import sys

import pytest

from raccoon_training import __main__ as program


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> object:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["raccoon_training", *args])
    with pytest.raises(SystemExit) as ended:
        program.main()
    return ended.value.code


EXPORT = ("export", "--run", "r", "--weights", "w", "--data", "d", "--classes", "c", "--out", "o")


def failing(error: BaseException):
    def command(_: object) -> None:
        raise error

    return command


def test_what_fails_is_one_line(monkeypatch):
    """`check_graph` raises RuntimeError, and PyTorch does, in several lines."""
    for error in (
        RuntimeError("decoder.onnx differs\n  from the model"),
        OSError("decoder.onnx differs from the model"),
    ):
        monkeypatch.setattr(program.export, "export", failing(error))
        assert run(monkeypatch, *EXPORT) == "raccoon_training export: decoder.onnx differs from the model"
    monkeypatch.setattr(program, "CALLED_AS", "raccoon export")
    assert run(monkeypatch, *EXPORT) == "raccoon: decoder.onnx differs from the model"
    monkeypatch.setenv("RACCOON_DEBUG", "1")
    with pytest.raises(OSError, match="differs"):
        program.main()


def test_interrupted(monkeypatch, capsys):
    monkeypatch.setattr(program.export, "export", failing(KeyboardInterrupt()))
    assert run(monkeypatch, *EXPORT) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "raccoon_training export: interrupted\n"


def test_a_command_line_that_is_wrong(monkeypatch, capsys):
    assert run(monkeypatch, "import", "--checkpoint", "x") == 1
    error = capsys.readouterr().err
    assert error.startswith("raccoon_training import: the following arguments are required: --data")
    assert error.count("\n") == 1
    monkeypatch.setattr(program, "CALLED_AS", "raccoon bundle import")
    assert run(monkeypatch, "import", "--nothing") == 1
    assert capsys.readouterr().err.startswith("raccoon: the following arguments")


def test_help_names_the_command_that_was_typed(monkeypatch, capsys):
    monkeypatch.setattr(program, "CALLED_AS", "raccoon bundle import")
    assert run(monkeypatch, "import", "--help") == 0
    assert capsys.readouterr().out.startswith("usage: raccoon bundle import [-h] --checkpoint")
