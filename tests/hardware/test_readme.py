"""The README's code runs as it stands."""

import re
from pathlib import Path

import pytest

import hardware

README = Path(hardware.__file__).with_name("README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_readmes_code_runs(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "ms measured" in capsys.readouterr().out
