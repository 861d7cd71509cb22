"""`edgenas check`: runs the contracts over anyone's space and says what holds, what doesn't, and how to mend it.

edgenas check my_package.my_space.MySpace [setting=value ...]; or, for an option, edgenas check search_space=mobile
"""

import difflib
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from experiments.build import PACKAGES, build, describe, locate, nearest
from experiments.plugins import import_plugin
from experiments.space_words import SECTION, composed, options, values
from nas.blame import place
from nas.contracts import CONTRACTS
from nas.contracts.check import Finding, findings
from search_spaces.layers import total_macs, total_params
from search_spaces.space import Choice, Space, check_choices, largest, size

USAGE = "edgenas check <package.module.Class, or search_space=<option>> [setting=value ...] [--json] [--anyway]"
HELP = f"""\
{USAGE}

  setting=value     of the space, as kernels=[3,5] or search_space.kernels=[3,5]; small networks are checked faster
  data=<option>     of an option: whose images it is for; plugins=[<package>] where the option is of a plug-in
  --anyway          however large its networks are
  --json            one JSON object as the last line"""
FLAGS = ("--json", "--anyway", "--help")
SHAPE = ("image_size", "image_channels", "classes")
MEMBERS = ("choices", "supernet", "layers")
MOST_MACS, MOST_PARAMS, MOST_LAYERS = 100e6, 5e6, 300
"""Of the largest network: dozens of networks are compiled, and some run in float64."""


def check_command(arguments: Sequence[str]) -> None:
    """Checks a space and prints a table; exits with 1 when a contract is broken.

    Args:
      arguments: what stands behind `check`.

    Raises:
      ValueError: when the space cannot be had, is none, or is too large to be checked as it is.
    """
    flags = {"--help" if each == "-h" else each for each in arguments if each.startswith("-")}
    words = [each for each in arguments if not each.startswith("-")]
    for flag in sorted(flags):
        if flag not in FLAGS:
            raise ValueError(f"`check` has no option `{flag}`{nearest(flag, FLAGS)}")
    if "--help" in flags:
        print(HELP)
        return
    if not words:
        raise ValueError(f"say {USAGE}")
    title, space = space_of(words)
    if "--anyway" not in flags:
        refuse_large(space)
    found = _run(title, space)
    broken = [each for each in found if each.state == "broken"]
    if "--json" in flags:
        print(json.dumps(_summary(title, space, found)))
    if broken:
        sys.exit(1)


def _run(title: str, space: Space) -> list[Finding]:
    print(f"{title}: {size(space):,} networks, {len(space.choices)} choices, {len(CONTRACTS)} contracts\n")
    print(f"{'':>7}  {'result':<14}  {'seconds':>7}  contract")
    found: list[Finding] = []
    for number, finding in enumerate(findings(space), 1):
        counted = f"{number}/{len(CONTRACTS)}"
        print(f"{counted:>7}  {finding.state:<14}  {finding.seconds:>7.1f}  {finding.contract}", flush=True)
        if finding.reason:
            print(f"{'':>34}{finding.reason}")
        if finding.mend:
            print(f"{'':>34}to mend it: {finding.mend}", flush=True)
        found.append(finding)
    counts = ", ".join(f"{_count(found, state)} {state}" for state in ("holds", "broken", "not applicable"))
    print(f"\n{counts}; {sum(each.seconds for each in found):.0f} s")
    return found


def _count(found: Sequence[Finding], state: str) -> int:
    return sum(each.state == state for each in found)


def _summary(title: str, space: Space, found: Sequence[Finding]) -> dict[str, Any]:
    states = {name: _count(found, name.replace("_", " ")) for name in ("holds", "broken", "not_applicable")}
    settings = describe(space)
    return {
        "space": title,
        "settings": settings if isinstance(settings, dict) else {},
        "networks": size(space),
        **states,
        "seconds": round(sum(each.seconds for each in found), 2),
        "contracts": [asdict(each) for each in found],
    }


def space_of(words: Sequence[str]) -> tuple[str, Space]:
    """The space that the words name, and what to call it.

    Args:
      words: the path of a class, or `search_space=<option>`, then settings. Naming a class consents to importing it.

    Raises:
      ValueError: in one line, when there is none such, a setting is wrong, or it is no space.
    """
    given = [word for word in words if "=" not in word]
    chosen = [word for word in words if word.startswith(f"{SECTION}=")]
    if len(given) + len(chosen) != 1:
        raise ValueError(f"name one space: {USAGE}; got `{' '.join(words)}`")
    if chosen:
        title = chosen[0]
        settings, plugins = composed(words)
        source, section = build(settings["data"], plugins), settings[SECTION]
        tree = {**{name: getattr(source, name) for name in SHAPE}, **section}
    else:
        title = given[0]
        module, _, name = title.rpartition(".")
        if not module or not name:
            raise ValueError(f"`{title}` is no path of a class, as search_spaces.mobile.Mobile is{_option_near(title)}")
        package = title.partition(".")[0]
        plugins = () if package in PACKAGES else (package,)
        if plugins:
            import_plugin(module)
        locate(title, plugins)
        tree = {"_target_": title, **values([word for word in words if word != title])}
    return title, checked(title, _built(title, tree, plugins))


def _option_near(word: str) -> str:
    """The end of a message about a word that names no space."""
    close = difflib.get_close_matches(word.lower(), options(), 1, 0.6)
    return f"; did you mean {SECTION}={close[0]}?" if close else f"; an option is named {SECTION}=<option>"


def _built(title: str, tree: dict[str, Any], plugins: Sequence[str]) -> Any:
    try:
        return build(tree, plugins)
    except ValueError:
        raise
    except Exception as error:  # whatever a constructor raises
        raise ValueError(f"`{title}` cannot be made: {type(error).__name__}: {error} ({place(error)})") from error


def checked(title: str, space: Any) -> Space:
    """The space, if it is one.

    Raises:
      ValueError: when it lacks a member, or its choices don't fit together.
    """
    missing = [name for name in MEMBERS if inspect.getattr_static(space, name, None) is None]
    if missing:
        raise ValueError(
            f"`{title}` is no space: it lacks `{'`, `'.join(missing)}`; a space has `choices`, `supernet(key)` and"
            " `layers(arch)` (search_spaces/TUTORIAL.md)"
        )
    try:
        choices = space.choices
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"`choices` of `{title}` raise {type(error).__name__}: {error} ({place(error)})") from error
    if not isinstance(choices, tuple) or not all(isinstance(each, Choice) for each in choices):
        raise ValueError(
            f"`choices` of `{title}` must be a tuple, each a `Choice` of search_spaces.space, got {choices!r}"
        )
    check_choices(choices)
    return space


def refuse_large(space: Space) -> None:
    """Refuses a space whose largest network would keep a machine busy for hours.

    Raises:
      ValueError: saying its size and how to pass smaller settings.
    """
    try:
        layers = space.layers(largest(space))
    except Exception:  # a finding, when contracts ask for them
        return
    macs, params = total_macs(layers), total_params(layers)
    if macs <= MOST_MACS and params <= MOST_PARAMS and len(layers) <= MOST_LAYERS:
        return
    names = list(inspect.signature(type(space)).parameters)
    raise ValueError(
        f"the largest network has {macs:,} MACs, {params:,} parameters and {len(layers)} layers; contracts run"
        f" dozens of networks, so give smaller settings ({', '.join(f'{name}=...' for name in names[:8])}) to stay"
        f" under {MOST_MACS:,.0f}, {MOST_PARAMS:,.0f} and {MOST_LAYERS}, or --anyway"
    )
