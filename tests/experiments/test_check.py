"""`edgenas check`: a table of what holds, 1 where a contract is broken, and one line and 2 for what is no space."""

import json

import pytest

from experiments.check import refuse_large, space_of
from nas.contracts import CONTRACTS
from nas.contracts import check as checks
from nas.contracts.contract import ContractError, NotApplicable
from search_spaces.mobile import Mobile, Stage

SPACES = """
from dataclasses import dataclass
from search_spaces.mobile import Mobile, Stage
from search_spaces.space import Choice

@dataclass(frozen=True, kw_only=True)
class Fine(Mobile):
    image_size: int = 8
    stages: tuple[Stage, ...] = (Stage(widths=(4, 8), depths=(1,)),)
    kernels: tuple[int, ...] = (3,)
    expansions: tuple[int, ...] = (1, 2)

class Half:
    choices = ()
    def layers(self, arch):
        return ()

@dataclass(frozen=True)
class Twice:
    options: tuple = (1, 1)
    @property
    def choices(self):
        return (Choice(name="width", options=self.options),)
    def supernet(self, key): ...
    def layers(self, arch): ...

class Raising(Twice):
    @property
    def choices(self):
        return 1 / 0

class Listed(Twice):
    choices = [1]

class Unmade(Twice):
    def __init__(self):
        raise KeyError("gone")

@dataclass(frozen=True)
class Lost(Twice):
    @property
    def choices(self):
        return (Choice(name="kernel", options=(3, 5), requires=("dept", 1)),)
"""


@pytest.fixture
def spaces(tmp_path, monkeypatch):
    (tmp_path / "checked_spaces").mkdir()
    (tmp_path / "checked_spaces" / "__init__.py").write_text("")
    (tmp_path / "checked_spaces" / "some.py").write_text(SPACES)
    (tmp_path / "checked_spaces" / "raises.py").write_text("raise OSError('no')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


SOME = "checked_spaces.some"


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        ("", "say edgenas check <package.module.Class, or search_space=<option>>"),
        ("--json", "say edgenas check"),
        (f"{SOME}.Fine --jsno", "`check` has no option `--jsno`; did you mean `--json`?"),
        (f"{SOME}.Fine {SOME}.Half", "name one space"),
        (f"{SOME}.Fine search_space=mobile", "name one space"),
        (f"{SOME}.Fin", f"`{SOME}` has no `Fin`; did you mean `Fine`?"),
        ("checked_spaces.som.Fine", "there is no `checked_spaces.som`; did you mean `checked_spaces.some`?"),
        ("checked_space.some.Fine", "there is no `checked_space`; did you mean `checked_spaces`?"),
        ("checked_spaces.raises.Fine", "`checked_spaces.raises` cannot be imported: OSError: no ("),
        ("Fine", "`Fine` is no path of a class, as search_spaces.mobile.Mobile is"),
        (
            "Mobile",
            "`Mobile` is no path of a class, as search_spaces.mobile.Mobile is; did you mean search_space=mobile?",
        ),
        ("zzz", "is no path of a class, as search_spaces.mobile.Mobile is; an option is named search_space=<option>"),
        (f"{SOME}.Fine kernels=[3] search_space.kernels=[5]", "`kernels` is set twice"),
        ("search_space=mobile kernels=[3] search_space.kernels=[5]", "`kernels` is set twice"),
        ("search_space=mobile kernel=[3]", "has no setting `kernel`; did you mean `kernels`?"),
        (f"{SOME}.Half", "is no space: it lacks `supernet`; a space has `choices`, `supernet(key)` and `layers(arch)`"),
        (f"{SOME}.Twice", "choice `width` needs distinct options, got (1, 1); did you mean (1,)?"),
        (f"{SOME}.Twice options=[1,a]", "choice `width`"),
        (f"{SOME}.Raising", "raise ZeroDivisionError: division by zero ("),
        (f"{SOME}.Listed", "must be a tuple, each a `Choice` of search_spaces.space, got [1]"),
        (f"{SOME}.Unmade", "cannot be made: KeyError: 'gone' ("),
        (f"{SOME}.Lost", "`kernel` requires `dept`, which is not a choice"),
        (f"{SOME}.Fine image_size=x", "`image_size` must be a whole number, got `x`"),
        (f"{SOME}.Fine image_sizes=8", "has no setting `image_sizes`; did you mean `image_size`?"),
        (f"{SOME}.Fine image_size=8 image_size=9", "`image_size` is set twice"),
        (f"{SOME}.Fine kernels=[3", "[3"),
        ("search_spaces.mobile.Mobil", "did you mean `Mobile`?"),
        ("search_space=mobil", "`search_space` has no option `mobil`; did you mean `mobile`?"),
        ("search_space=mobile search_space.kernel=[3]", "there is no setting `search_space.kernel`; did you mean"),
        ("os.path.Fine", "there is no `os.path`|has no `Fine`|describes no settings"),
    ],
)
def test_what_is_no_space_gets_one_line(refused, spaces, arguments, phrase):
    line = refused("check", *arguments.split())
    assert any(each in line for each in phrase.split("|")), line


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_says_what_there_is(main, capsys, word):
    main(["check", word])
    said = capsys.readouterr().out
    assert said.startswith("edgenas check <package.module.Class, or search_space=<option>>")
    assert "search_space.kernels=[3,5]" in said


def test_a_verb_that_is_none_gets_the_nearest(refused):
    said = "there is no verb `chek`, and a setting is written chek=<value>; did you mean `check`?"
    assert said in refused("chek", "x")
    assert "there are `check`, `convert`, `describe`" in refused("zzz")


def test_a_space_too_large_is_refused_with_its_size_and_the_way_out():
    with pytest.raises(ValueError, match=r"has [\d,]+ MACs, [\d,]+ parameters and \d+ layers; .* smaller settings"):
        refuse_large(Mobile(image_size=512, stages=(Stage(widths=(256,), depths=(4,), stride=1),)))
    refuse_large(Mobile(image_size=8))


def test_spaces_are_named_by_class_or_by_option(spaces):
    title, space = space_of([f"{SOME}.Fine", "image_size=10", "kernels=[3,5]"])
    assert (title, space.image_size, space.kernels) == (f"{SOME}.Fine", 10, (3, 5))
    assert space_of([f"{SOME}.Fine", "image_size=10", "search_space.kernels=[3,5]"])[1] == space
    assert space_of(["search_space=mobile", "kernels=[3]"]) == space_of(
        ["search_space=mobile", "search_space.kernels=[3]"]
    )
    title, space = space_of(["search_space=mobile", "data.image_size=16", "search_space.kernels=[3]", "classes=4"])
    assert (title, space.image_size, space.kernels, space.classes) == ("search_space=mobile", 16, (3,), 4)
    assert type(space) is Mobile


def holds(case):
    """It holds."""


def breaks(case):
    """It doesn't."""
    raise ContractError("too much", "take less")


def says_nothing(case):
    """Nothing."""
    raise NotApplicable("it has no choices")


def raises(case):
    """An author's fault."""
    raise KeyError("gone")


def test_the_table_and_the_json_say_what_holds_and_what_to_mend(main, spaces, monkeypatch, capsys):
    monkeypatch.setattr(checks, "CHOICES", (holds, breaks))
    monkeypatch.setattr(checks, "NETWORKS", (holds, says_nothing, raises))
    with pytest.raises(SystemExit) as ended:
        main(["check", f"{SOME}.Fine", "--json"])
    assert ended.value.code == 1  # a finding, not bad input
    *table, last = capsys.readouterr().out.splitlines()
    said = "\n".join(table)
    for phrase in ("holds ", "broken ", "too much", "to mend it: take less", "it has no choices", "2 holds, 2 broken"):
        assert phrase in said
    summary = json.loads(last)
    assert {name: summary[name] for name in ("space", "holds", "broken", "not_applicable")} == {
        "space": f"{SOME}.Fine",
        "holds": 2,
        "broken": 2,
        "not_applicable": 1,
    }
    assert summary["contracts"][4]["reason"] == "KeyError: 'gone'"
    assert summary["contracts"][4]["mend"].startswith("see ")
    assert "test_check.py, line " in summary["contracts"][4]["mend"]
    monkeypatch.setattr(checks, "CHOICES", (holds,))
    monkeypatch.setattr(checks, "NETWORKS", (holds,))
    main(["check", f"{SOME}.Fine"])  # ends by itself: 0
    assert len({contract.__name__ for contract in CONTRACTS}) == len(CONTRACTS)
