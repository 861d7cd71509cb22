"""Counters of energy: added up over sockets, across their wrap, and refused where they cannot be trusted."""

from pathlib import Path

import pytest

from hardware.energy.rapl import Rapl

RANGE_UJ = 262143328850  # of a laptop's processor, as its powercap shows it


def tree(files, root, **counters):
    """A machine of two sockets; each counter in microjoules."""
    zones = {"0": "package-0", "0:0": "core", "0:1": "dram", "1": "package-1", "1:1": "dram", "2": "psys"}
    content = {}
    for number, name in zones.items():
        folder = f"intel-rapl:{number}"
        content |= {f"{folder}/name": name, f"{folder}/max_energy_range_uj": RANGE_UJ}
        content[f"{folder}/energy_uj"] = counters.get(f"at{number.replace(':', '_')}", 0)
    content["intel-rapl/enabled"] = 1  # the control type itself is no zone
    return files(root, content)


def test_packages_and_their_memory_are_added_up(files, tmp_path):
    rapl = Rapl(root=tree(files, tmp_path, at0=1_000_000, at1=500, at0_1=7))
    rapl.check()
    with rapl.recording() as recording:
        tree(files, tmp_path, at0=3_500_000, at0_0=999, at1=250_500, at0_1=125_007, at1_1=100_000, at2=9_999)
    # 2.5 + 0.25 J of packages, 0.125 + 0.1 J of memory; the cores are within the packages, psys counts all again
    assert recording.joules == pytest.approx(2.975)
    assert recording.seconds > 0
    assert recording.flaws == ()


@pytest.mark.parametrize(
    ("zones", "joules"), [(("core",), 0.999), (("dram",), 0.3), (("psys",), 5.0), (("package-1", "dram"), 2.3)]
)
def test_zones_by_name(files, tmp_path, zones, joules):
    rapl = Rapl(root=tree(files, tmp_path), zones=zones)
    with rapl.recording() as recording:
        tree(files, tmp_path, at0=4_000_000, at0_0=999_000, at0_1=100_000, at1=2_000_000, at1_1=200_000, at2=5_000_000)
    assert recording.joules == pytest.approx(joules)
    assert "+".join(zones) in rapl.name


def test_a_counter_that_wraps(files, tmp_path):
    rapl = Rapl(root=tree(files, tmp_path, at0=RANGE_UJ - 1_500_000), zones=("package-0",))
    with rapl.recording() as recording:
        tree(files, tmp_path, at0=500_000)
    assert recording.joules == pytest.approx(2.0)  # 1.5 J up to the end of the counter, 0.5 J from its beginning


def test_a_window_in_which_it_may_have_wrapped_twice_is_refused(files, tmp_path, clock):
    rapl = Rapl(root=tree(files, tmp_path), zones=("dram",))
    refused = r"counts to 262143 J and may have wrapped twice within 300 s; .* below 262 s"
    with pytest.raises(ValueError, match=refused), rapl.recording():
        clock.sleep(300.0)


def test_a_machine_without_counters_says_what_was_looked_for(tmp_path):
    looked_for = rf"no RAPL counter is at `{tmp_path}/intel-rapl:\*/energy_uj`: .*`energy_mj` remains, modelled"
    with pytest.raises(ValueError, match=looked_for):
        Rapl(root=str(tmp_path)).check()
    with pytest.raises(ValueError, match=looked_for), Rapl(root=str(tmp_path)).recording():
        pass


def test_counters_for_root_only_say_how_to_open_them(files, tmp_path, monkeypatch):
    rapl = Rapl(root=tree(files, tmp_path))
    read = Path.read_text

    def refuse(path, *arguments, **named):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ValueError, match=r"only root may read .*energy_uj` .*sudo chmod a\+r"):
        rapl.check()


def test_zones_that_cannot_be_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"`core` is counted in `package-0` already"):
        Rapl(zones=("package-0", "core"))
    with pytest.raises(ValueError, match=r"`core` is counted in `psys` already"):
        Rapl(zones=("core", "psys"))
    with pytest.raises(ValueError, match=r"no zone `packag-0` here, but .*; did you mean `package-0`\?"):
        Rapl(root=tree(files, tmp_path), zones=("packag-0",)).check()


def test_a_counter_that_shows_no_number_is_refused(files, tmp_path):
    root = tree(files, tmp_path, at0="busy")
    with pytest.raises(ValueError, match="energy_uj` cannot be read"):
        Rapl(root=root).check()
