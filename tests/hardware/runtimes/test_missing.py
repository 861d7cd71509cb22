"""Optional libraries: there, not installed, or broken themselves."""

import sys

import pytest

from hardware.runtimes.missing import need


def test_what_is_installed_is_given():
    assert need("json.decoder", "tflite") is sys.modules["json.decoder"]


def test_what_is_missing_says_the_command():
    with pytest.raises(ValueError, match=r"`no_such.part` is not installed; run `pip install 'edgenas\[vela\]'`"):
        need("no_such.part", "vela")


def test_a_library_that_lacks_another_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        need("half_there", "vela")
