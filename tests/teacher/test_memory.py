import psutil
import pytest
import torch

from unbraid.errors import DataError, TeacherError
from unbraid.teacher import load
from unbraid.teacher.memory import check_fits, choose_device, free_bytes, needed_bytes

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """Pretend that so many bytes are free."""

    def pretend(count):
        monkeypatch.setattr("unbraid.teacher.memory.free_bytes", lambda device: count)

    return pretend


def test_needs_are_weights_and_workspace_in_each_dtype():
    assert needed_bytes(1000, 24) == {torch.float32: 4096, torch.bfloat16: 2048, torch.float16: 2048}


def test_what_fits_is_let_through(free):
    free(4096)
    check_fits(needed_bytes(1000, 24), torch.float32, CPU)


def test_what_does_not_fit_is_refused_with_both_numbers_and_a_smaller_dtype(free):
    free(9 * GIB)
    needed = needed_bytes(3 * GIB, GIB)
    said = r"needs 16\.00 GiB in float32, cpu has 9\.00 GiB free: dtype='bfloat16' needs 8\.00 GiB and fits"
    with pytest.raises(TeacherError, match=said):
        check_fits(needed, torch.float32, CPU)
    check_fits(needed, torch.bfloat16, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_dtype_is_offered_that_would_not_fit_either(free, dtype):
    free(GIB)
    with pytest.raises(TeacherError, match=r"a machine with more memory than 8\.00 GiB") as error:
        check_fits(needed_bytes(3 * GIB, GIB), dtype, CPU)
    assert "dtype=" not in str(error.value)


def test_free_memory_of_this_machine_is_told():
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


def test_a_teacher_is_refused_before_its_weights_are_read(tiny_v4, free, monkeypatch):
    free(2000)
    monkeypatch.setattr("unbraid.teacher.qwen.load_backbone", None)
    with pytest.raises(TeacherError, match="the teacher needs .* GiB in float32, cpu has 0.00 GiB free"):
        load(tiny_v4, device="cpu")


def test_the_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == CPU


@pytest.mark.parametrize("name", ["starter", "minilm", None])
def test_a_gpu_that_is_absent_is_said_to_be(tiny_v4, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TeacherError, match=r"device is 'cuda', but .*: use device='cpu'"):
        load(name or tiny_v4, device="cuda")


def test_a_gpu_of_too_high_a_number_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(TeacherError, match="device is 'cuda:1', but torch sees 1 CUDA GPU"):
        choose_device("cuda:1")


def test_free_memory_of_the_gpu_is_asked_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    assert free_bytes(torch.device("cuda")) == 123


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "mps", "meta"])
def test_a_name_that_is_no_device_is_refused(device):
    with pytest.raises(DataError, match="expected 'cpu', 'cuda' or 'cuda:N'"):
        choose_device(device)
