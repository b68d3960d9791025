import pytest

from unbraid.runtime import cpu


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight cores and no quota; returns a function that writes files of control groups."""
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cpu, "CGROUPS", tmp_path)
    monkeypatch.setattr(cpu, "OWN_CGROUP", tmp_path / "own")

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_without_a_quota_it_is_the_affinity(machine):
    assert cpu.usable_cores() == 8
    machine(**{"cpu.max": "max 100000\n", "own": "0::/\n"})
    assert cpu.usable_cores() == 8


@pytest.mark.parametrize(
    ("quota", "cores"), [(100_000, 1), (50_000, 1), (150_000, 2), (400_000, 4), (9_000_000, 8)]
)
def test_a_quota_bounds_the_cores(machine, quota, cores):
    machine(**{"cpu.max": f"{quota} 100000\n"})
    assert cpu.usable_cores() == cores


def test_the_quota_of_an_outer_group_counts(machine):
    machine(own="0::/pods/one\n", pods__cpu_max="")
    machine(**{"pods/cpu.max": "200000 100000", "pods/one/cpu.max": "max 100000"})
    assert cpu.usable_cores() == 2


def test_version_1_is_read_too(machine):
    machine(own="4:cpu,cpuacct:/box\n", cpu__box__cpu_x="")
    machine(**{"cpu/box/cpu.cfs_quota_us": "300000", "cpu/box/cpu.cfs_period_us": "100000"})
    assert cpu.usable_cores() == 3
    machine(**{"cpu/box/cpu.cfs_quota_us": "-1"})
    assert cpu.usable_cores() == 8
