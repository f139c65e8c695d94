"""Differences to the hosted machine are named, with the results that they affect."""

import msgspec

from dfdc_kit import profiles
from dfdc_kit.harness.environment import environment_diffs
from dfdc_kit.report.run_report import Machine

HOSTED = profiles.load("kaggle-today-gpu")


def machine(**changes: object) -> Machine:
    same = {
        "system": "Linux",
        "python": f"{HOSTED.software['python']}.5",
        "cpu_cores": HOSTED.hardware.cpu_cores,
        "memory_bytes": HOSTED.limits.memory_bytes,
        "packages": {"numpy": HOSTED.software["numpy"]},
    }
    return Machine(**(same | changes))


def named(found) -> set[str]:
    return {diff.what for diff in found}


def test_equal_machine_differs_at_most_in_its_gpu():
    assert named(environment_diffs(HOSTED, machine())) <= {"GPU"}


def test_each_difference_is_named():
    other = machine(cpu_cores=64, memory_bytes=1 << 30, python="3.9.1", packages={"numpy": "1.26.4", "av": "14.0"})
    assert named(environment_diffs(HOSTED, other)) >= {"CPU cores", "memory", "python", "numpy"}
    assert "av" not in named(environment_diffs(HOSTED, other)), "the profile does not mention it"


def test_more_memory_and_another_patch_release_are_no_difference():
    assert named(environment_diffs(HOSTED, machine(memory_bytes=1 << 40, packages={"numpy": "2.0.9"}))) <= {"GPU"}


def test_every_profile_has_a_source_for_every_number():
    for name in profiles.names():
        profile = profiles.load(name)
        stated = {**msgspec.to_builtins(profile.limits), **msgspec.to_builtins(profile.hardware)}
        numbers = {key for key, value in stated.items() if value not in (None, "", True)}
        missing = numbers - profile.source.keys()
        assert not missing or name == "unlimited", f"{name}: no source for {missing}"
