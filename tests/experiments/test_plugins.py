"""Packages of the user's bring options of their own, and are refused in one line where they can't be imported."""

import hydra
import pytest
from omegaconf import OmegaConf

from experiments.plugins import import_plugin, named, with_search_path

NEVER = "training.epochs=-5"  # refused as the last of all settings: no case here trains
SPACE = """
from dataclasses import dataclass
from search_spaces.mobile import Mobile, Stage
@dataclass(frozen=True, kw_only=True)
class Ours(Mobile):
    pass
"""
OPTION = """
_target_: plug_whole.space.Ours
stem_channels: 8
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A folder with packages: one whole, one that raises, one that lacks a library, one that isn't Python."""
    files = {
        "plug_whole/__init__.py": "",
        "plug_whole/space.py": SPACE,
        "plug_whole/configs/search_space/ours.yaml": OPTION,
        "plug_bare/__init__.py": "",
        "plug_raises/__init__.py": "\nraise RuntimeError('not\\ntoday')",
        "plug_lacks/__init__.py": "import no_such_library",
        "plug_broken/__init__.py": "def (",
        "plug_quits/__init__.py": "raise SystemExit(3)",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("plugin", "phrase"),
    [
        ("plug_raises", "`plug_raises` cannot be imported: RuntimeError: not today ("),
        ("plug_raises", "plug_raises/__init__.py, line 2)"),
        ("plug_lacks", "cannot be imported: No module named 'no_such_library' ("),
        ("plug_broken", "plug_broken/__init__.py, line 1)"),
        ("plug_quits", "cannot be imported: SystemExit: 3"),
        ("plug_wole", "there is no `plug_wole`; did you mean `plug_whole`?"),
        ("zzz", "there is no `zzz` here or on the Python path; go where it lies, or set PYTHONPATH"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(refused, plugins, plugin, phrase):
    assert phrase in refused(f"plugins=[{plugin}]", NEVER, f"output={plugins / 'runs'}")
    assert not (plugins / "runs").exists()


def test_it_is_refused_on_resume_too(refused, plugins):
    (plugins / "run").mkdir()
    (plugins / "run" / "overrides.json").write_text('["plugins=[plug_raises]"]')
    assert "`plug_raises` cannot be imported: RuntimeError" in refused(f"resume={plugins / 'run'}")


def test_its_yaml_files_are_options(plugins):
    arguments = with_search_path(["plugins=[plug_bare,plug_whole]", "search_space=ours"])
    assert arguments[:2] == ["plugins=[plug_bare,plug_whole]", "search_space=ours"]
    with hydra.initialize_config_module("experiments.configs", version_base="1.3"):
        tree = hydra.compose("edgenas", arguments)
    assert OmegaConf.to_container(tree.search_space) == {"_target_": "plug_whole.space.Ours", "stem_channels": 8}
    # beside a search path of the user's own
    both = with_search_path(["plugins=[plug_whole]", 'hydra.searchpath=["file:///elsewhere"]'])
    assert both[-1] == f'hydra.searchpath=["file:///elsewhere", "file://{plugins}/plug_whole/configs"]'
    assert with_search_path(["plugins=[plug_bare]", "seed=1"]) == ["plugins=[plug_bare]", "seed=1"]


def test_mistyped_options_are_near_those_of_a_plugin(refused, plugins):
    line = refused("plugins=[plug_whole]", "search_space=our", NEVER)
    assert "`search_space` has no option `our`; did you mean `ours`?" in line
    line = refused("plugins=[plug_whole]", "search_space=ours", "search_space.stem_channel=3", NEVER)
    assert "did you mean `search_space.stem_channels`?" in line


def test_only_named_packages_are_trusted(refused, plugins):
    line = refused("search_space._target_=plug_whole.space.Ours", NEVER, f"output={plugins / 'runs'}")
    assert "`plug_whole`, which is not one of ours; trust it with plugins=[plug_whole]" in line


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["plugins=[a,b]"], ("a", "b")),
        (["plugins=[a]", "seed=1", "plugins=[b]"], ("b",)),
        (["plugins=[]"], ()),
        (["plugins=[a"], ()),  # Hydra will say so
        (["seed=1"], ()),
    ],
)
def test_names_are_read_as_hydra_reads_them(arguments, names):
    assert named(arguments) == names


def test_what_is_no_list_is_refused_with_the_list_it_could_be(refused):
    for words in ([], ["check", "search_space=mobile"], ["describe", "search_space=mobile"]):
        line = refused(*words, "plugins=pboom")
        assert line == "edgenas: error: `plugins` must be a list, as plugins=[pboom]"
    assert "`plugins` must be a list, as plugins=[my_package]" in refused("plugins=null")


def test_a_module_of_the_current_folder_is_found_last(plugins, monkeypatch):
    """Whatever lies here takes no library's place."""
    (plugins / "json.py").write_text("raise RuntimeError")
    assert import_plugin("json").__name__ == "json"
    assert import_plugin("plug_bare").__name__ == "plug_bare"
