"""gptoss-tp doctor: what it finds on this machine, on a broken one, and on one with GPUs, whose driver is played by a library made here."""
import contextlib
import os
import random
import shutil
import socket
import subprocess

import pytest
from conftest import PROGRAM, ROOT, environment, run

TINY = ROOT / "configs" / "tiny.yaml"

# Two GPUs, the first with most of its memory in use, and no way from the second to the first. $FAKE_ERROR: what cuInit answers.
DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned f) { (void)f; const char *e = getenv("FAKE_ERROR"); return e ? atoi(e) : 0; }
int cuDriverGetVersion(int *v) { return *v = 99020, 0; }
int cuGetErrorName(int e, const char **n) { return *n = e == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : "CUDA_ERROR", 0; }
int cuDeviceGetCount(int *n) { const char *c = getenv("FAKE_COUNT"); return *n = c ? atoi(c) : 2, 0; }
int cuDeviceGet(int *d, int i) { return *d = i + 100, 0; }
int cuDeviceGetName(char *n, int size, int d) { return snprintf(n, size, "Played GPU %d", d), 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { (void)d; return *b = (size_t)80 << 30, 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { (void)d; return *v = a == 75 ? 9 : 0, 0; }
int cuDeviceCanAccessPeer(int *can, int a, int b) { return *can = a == 100 && b == 101, 0; }
int cuDeviceGetPCIBusId(char *id, int size, int d) { return snprintf(id, size, "%d", d), 0; }
"""
MANAGEMENT = r"""
#include <stdio.h>
#include <stdlib.h>
static unsigned long long used[] = {70ULL << 30, 1ULL << 20};
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *v, unsigned size) { return snprintf(v, size, "999.88.77"), 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **d) { return *d = &used[atoi(id) - 100], 0; }
int nvmlDeviceGetMemoryInfo(void *d, unsigned long long *m) { return m[0] = 80ULL << 30, m[2] = *(unsigned long long *)d, 0; }
"""
NCCL = "int ncclGetVersion(int *v) { return *v = 22809, 0; }"


def doctor(*arguments, **more):
    env = environment()
    env.update(more)
    ended = subprocess.run([str(PROGRAM), "doctor", *map(str, arguments)], env=env, capture_output=True, text=True, timeout=60)
    found = {}
    for line in ended.stdout.splitlines():
        level, rest = line.split(None, 1)
        assert level in ("ok", "warn", "FAIL"), line
        found[rest[:13].strip()] = (level, rest[13:].strip())
    return ended, found


@pytest.fixture
def port():
    """A free one, and none of those that the system gives to whoever asks for any, as the servers of other tests do meanwhile."""
    for number in random.sample(range(20000, 30000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", number))
            return number
    pytest.fail("no free port was found")


@pytest.fixture(scope="session")
def played(tmp_path_factory):
    """A folder with the libraries."""
    folder = tmp_path_factory.mktemp("driver")
    compiler = shutil.which("cc") or shutil.which("gcc")
    for name, source in (("libcuda.so.1", DRIVER), ("libnvidia-ml.so.1", MANAGEMENT), ("libnccl.so.2", NCCL)):
        (folder / "source.c").write_text(source)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / name, folder / "source.c"], check=True)
    return folder


def test_without_configuration(port):
    ended, found = doctor("--port", port, "--backend", "cpu")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(found) >= {"configuration", "build", "GPU driver", "NCCL", "MPI", "ranks", "cores", "memory", "/dev/shm", "port"}
    assert found["port"] == ("ok", f"127.0.0.1:{port} is free")
    assert "Open MPI" in found["MPI"][1] and "FAIL" not in ended.stdout
    assert ended.stderr == ""


def test_a_good_model(tiny_model, port):
    ended, found = doctor(TINY, "--model", tiny_model, "--port", port)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(found[name][0] == "ok" for name in ("configuration", "model files", "tensors", "tokenizer", "on 1 rank", "on 8 ranks"))
    assert "harmony" in found["tokenizer"][1] and "fits" in found["on 2 ranks"][1]


def test_a_port_in_use(tiny_model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        ended, found = doctor(TINY, "--model", tiny_model, "--port", number)
        assert ended.returncode == 3
        assert found["port"][0] == "FAIL" and "--port" in found["port"][1]
        errors = ended.stderr.splitlines()
        assert len(errors) == 1 and "1 check failed: port" in errors[0]
        ended, found = doctor("--port", number, "--backend", "cpu")  # nobody asked for it
        assert ended.returncode == 0 and found["port"][0] == "warn"


def test_a_foreign_address(tiny_model, port):
    ended, found = doctor(TINY, "--model", tiny_model, "--port", port, "--host", "203.0.113.7")
    assert ended.returncode == 3 and found["port"][0] == "FAIL" and "--host" in found["port"][1]


def broken(tiny_model, tmp_path, name, change):
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).symlink_to(file)
    target = folder / name
    data = target.read_bytes()
    target.unlink()
    target.write_bytes(change(data))
    return folder


@pytest.mark.parametrize("glob, change, check", [
    ("*.safetensors", lambda data: data[: len(data) // 2], "tensors"),
    ("config.json", lambda data: data.replace(b"gpt_oss", b"gpt_two"), "model files"),
    ("tokenizer.json", lambda data: data.replace(b"<|start|>", b"<|begin|>"), "tokenizer"),
    ("tokenizer.json", lambda data: data[:1000], "tokenizer"),
])
def test_bad_model_files(tiny_model, tmp_path, port, glob, change, check):
    folder = broken(tiny_model, tmp_path, sorted(tiny_model.glob(glob))[0].name, change)
    ended, found = doctor(TINY, "--model", folder, "--port", port)
    assert ended.returncode == 4, ended.stdout
    assert [name for name, (level, _) in found.items() if level == "FAIL"] == [check]


def test_no_model(tmp_path, port):
    ended, found = doctor(TINY, "--model", tmp_path / "nothing", "--port", port)
    assert ended.returncode == 4 and found["model files"][0] == "FAIL" and "->" in found["model files"][1]


def test_wrong_configuration(tmp_path, port):
    config = tmp_path / "bad.yaml"
    config.write_text("model:\n  path: x\n  pathh: y\n")
    ended, found = doctor(config, "--port", port)
    assert ended.returncode == 2
    assert found["configuration"][0] == "FAIL" and "bad.yaml:3" in found["configuration"][1]
    assert "MPI" in found and "model files" not in found
    ended, found = doctor("--prot", "1")
    assert ended.returncode == 2 and not found and "--port" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by mpirun")
def test_root_is_told_how(port):
    _, found = doctor("--port", port, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    assert found["root"][0] == "ok"
    env = {k: v for k, v in environment().items() if not k.startswith("OMPI_ALLOW")}
    ended = subprocess.run([str(PROGRAM), "doctor", "--port", str(port)], env=env, capture_output=True, text=True, timeout=60)
    assert "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" in ended.stdout


def test_mpirun_not_in_path(port, tmp_path):
    _, found = doctor("--port", port, PATH=str(tmp_path))
    assert found["MPI"][0] == "warn" and "openmpi-bin" in found["MPI"][1]
    other = tmp_path / "mpirun"
    other.write_text("#!/bin/sh\necho 'mpirun (Open MPI) 9.9.9'\n")
    other.chmod(0o755)
    _, found = doctor("--port", port, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert found["MPI"][0] == "warn" and "9.9.9" in found["MPI"][1]


def test_gpus(tiny_model, played, port):
    ended, found = doctor(TINY, "--model", tiny_model, "--port", port, LD_LIBRARY_PATH=str(played))
    assert found["GPU driver"][0] == "ok" and found["GPU driver"][1].startswith("version 999.88.77, runs CUDA up to 99.2")
    assert found["GPU 0"] == ("warn", "Played GPU 100, compute capability 9.0, 80 GiB, 70 GiB in use -> nvidia-smi shows by whom; leave that "
                                      "GPU out with CUDA_VISIBLE_DEVICES, or end them")
    assert found["GPU 1"] == ("ok", "Played GPU 101, compute capability 9.0, 80 GiB, 1 MiB in use")
    assert found["peer access"][0] == "warn" and "missing from GPU 1 to 0 (1 of 2 pairs)" in found["peer access"][1]
    assert found["NCCL"] == ("ok", "2.28.9")
    assert ended.returncode == 0


@pytest.mark.parametrize("more, says", [({"FAKE_ERROR": "803"}, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"), ({"FAKE_COUNT": "0"}, "no GPU")])
def test_driver_without_gpus(played, port, more, says):
    _, found = doctor("--port", port, LD_LIBRARY_PATH=str(played), **more)
    assert found["GPU driver"][0] == "warn" and says in found["GPU driver"][1]
    ended, found = doctor("--port", port, "--backend", "cuda", LD_LIBRARY_PATH=str(played), **more)
    assert found["GPU driver"][0] == "FAIL" and ended.returncode == 3


def test_alone(port):
    ended = run(2, "doctor")
    assert ended.returncode == 2 and "alone" in ended.stderr
