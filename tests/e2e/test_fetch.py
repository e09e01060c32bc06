"""gptoss-tp fetch against a hub of our own, with everything that goes wrong between a hub and a disk."""
import contextlib
import hashlib
import os
import pty
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import PROGRAM, ROOT, environment, wait_until
from hub import COMMIT, Hub, model_files

NAME = "openai/gpt-oss-20b"
ROOT_FILES = {"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors.index.json", "special_tokens_map.json",
              "tokenizer.json", "tokenizer_config.json"}
if subprocess.run([PROGRAM, "fetch", "--help"], capture_output=True, text=True).stdout.find("--part-size") < 0:
    pytest.skip("fetch was not built in: no libcurl", allow_module_level=True)


@pytest.fixture
def hubs():
    """hubs(files): a hub that is closed after the test."""
    made = []

    def make(files=None, **how):
        made.append(Hub(files or model_files(), **how))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def settings(hub, home, **more):
    env = {k: v for k, v in environment().items() if not k.startswith(("HF_", "HUGGING", "MODELSCOPE", "XDG_")) and not k.lower().endswith("_proxy")}
    env.update({"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HOME": str(home), **more})
    return env


def begin(hub, home, *flags, env=None, stderr=subprocess.PIPE):
    return subprocess.Popen([PROGRAM, "fetch", hub.repository, *map(str, flags)], env=settings(hub, home, **(env or {})), stdout=subprocess.PIPE,
                            stderr=stderr, text=True)


def fetch(hub, home, *flags, code=0, env=None):
    process = begin(hub, home, *flags, env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out.strip(), err


def wanted(files):
    return {p: d for p, d in files.items() if p in ROOT_FILES or re.fullmatch(r"model-[^/]*\.safetensors", p)}


def snapshot(home):
    return home / "hub" / "models--openai--gpt-oss-20b" / "snapshots" / COMMIT


def assert_holds(folder, files):
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert there == set(files)
    for path, data in files.items():
        assert (folder / path).read_bytes() == data, path


def large(hub):
    return sum(len(d) for p, d in wanted(hub.files).items() if hub.is_large(p))


def test_into_the_cache(hubs, home):
    hub = hubs()
    hub.page = 4
    out, err = fetch(hub, home, "--part-size", "64KiB")
    folder = snapshot(home)
    assert out == str(folder)
    assert f"model.path: {NAME}" in err
    assert_holds(folder, wanted(hub.files))
    repository = folder.parents[1]
    assert (repository / "refs" / "main").read_text() == COMMIT
    blob = hashlib.sha256(hub.files["tokenizer.json"]).hexdigest()
    assert os.readlink(folder / "tokenizer.json") == f"../../blobs/{blob}"
    assert len(list((repository / "blobs").iterdir())) == len(wanted(hub.files))  # nothing unfinished is left
    assert len(hub.asked("api")) == 1 + -(-len(hub.tree()) // 4)
    assert hub.sent == large(hub)
    assert len([r for r in hub.asked("cdn")]) > 3 * 4  # in parts

    before = len(hub.requests)
    fetch(hub, home)
    assert hub.sent == large(hub) and len(hub.requests) - before == 1 + -(-len(hub.tree()) // 4)


def test_other_tools_find_it(hubs, home):
    hub_library = pytest.importorskip("huggingface_hub")
    hub = hubs()
    fetch(hub, home)
    code = ("from huggingface_hub import snapshot_download, hf_hub_download\n"
            f"print(snapshot_download('{NAME}', local_files_only=True))\n"
            f"print(hf_hub_download('{NAME}', 'config.json'))")
    env = settings(hub, home, HF_HUB_OFFLINE="1", PYTHONPATH=os.path.dirname(os.path.dirname(hub_library.__file__)))
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert found.stdout.split() == [str(snapshot(home)), str(snapshot(home) / "config.json")], found.stderr


def test_model_path_finds_it(hubs, home, tiny_model):
    files = {str(p.relative_to(tiny_model)): p.read_bytes() for p in tiny_model.rglob("*") if p.is_file()}
    hub = hubs(files, repository="openai/gpt-oss-tiny")
    command = [PROGRAM, "plan", ROOT / "configs" / "tiny.yaml", "--model", hub.repository, "--ranks", "1"]

    def plan():
        return subprocess.run(command, env=settings(hub, home), capture_output=True, text=True, timeout=30)

    missing = plan()
    assert missing.returncode == 4 and "run: gptoss-tp fetch openai/gpt-oss-tiny" in missing.stderr
    fetch(hub, home)
    found = plan()
    assert found.returncode == 0, found.stderr


def test_into_a_folder(hubs, home, tmp_path):
    hub, folder = hubs(), tmp_path / "a" / "b"
    out, _ = fetch(hub, home, "--to", folder)
    assert out == str(folder) and not (home / "hub").exists()
    assert_holds(folder, wanted(hub.files))
    fetch(hub, home, "--to", folder)
    assert hub.sent == large(hub)
    shard = folder / "model-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    fetch(hub, home, "--to", folder)  # a file that somebody changed is put right
    assert_holds(folder, wanted(hub.files))
    assert hub.sent == large(hub) + len(data)


def test_original(hubs, home):
    hub = hubs()
    fetch(hub, home, "--original")
    folder = snapshot(home)
    names = {"original/config.json", "original/dtypes.json", "original/model.safetensors", "tokenizer.json", "tokenizer_config.json",
             "chat_template.jinja", "generation_config.json", "special_tokens_map.json"}
    assert_holds(folder, {p: d for p, d in hub.files.items() if p in names})
    assert os.readlink(folder / "original" / "config.json").startswith("../../../blobs/")


def test_equal_files_under_two_names(hubs, home, tmp_path):
    files = model_files()
    files["tokenizer_config.json"] = files["config.json"]
    files["model-00001-of-00002.safetensors"] = files["model-00000-of-00002.safetensors"]
    hub = hubs(files)
    fetch(hub, home)
    assert_holds(snapshot(home), wanted(files))
    fetch(hub, home, "--to", tmp_path / "plain")
    assert_holds(tmp_path / "plain", wanted(files))


@pytest.mark.parametrize("where, status", [("api", 429), ("resolve", 503), ("cdn", 429)])
def test_a_busy_server_is_left_alone(hubs, home, where, status):
    hub = hubs()
    hub.fault(where, status=status, headers={"Retry-After": "1"})
    fetch(hub, home, "--connections", "1")
    assert_holds(snapshot(home), wanted(hub.files))
    times = [r[3] for r in hub.requests]
    assert max(b - a for a, b in zip(times, times[1:])) >= 0.95  # nothing at all was asked meanwhile


def test_cut_connections(hubs, home):
    hub = hubs()
    hub.rate = 20_000_000
    hub.fault("cdn", times=6, cut=50_000)
    hub.fault("cdn", times=2, cut=0)
    fetch(hub, home, "--part-size", "128KiB")
    assert_holds(snapshot(home), wanted(hub.files))
    assert hub.sent <= large(hub) + 6 * 16384  # goes on from the byte that came, but for what was under way


def test_server_errors(hubs, home):
    hub = hubs()
    hub.fault("api", status=500)
    hub.fault("resolve", status=502)
    hub.fault("cdn", status=500)
    fetch(hub, home)
    assert_holds(snapshot(home), wanted(hub.files))


def test_gives_up(hubs, home):
    hub = hubs()
    hub.fault("cdn", times=1000, status=503)
    _, err = fetch(hub, home, "--retries", "2", code=5)
    assert "gave up" in err and "after 3 tries" in err and "HTTP 503" in err and "secret" not in err


def test_wrong_checksum_once(hubs, home):
    hub = hubs()
    hub.fault("cdn", match="00001", corrupt=True)
    _, err = fetch(hub, home)
    assert "model-00001-of-00002.safetensors: what came has another checksum" in err
    assert_holds(snapshot(home), wanted(hub.files))


def test_wrong_checksum_always(hubs, home):
    hub = hubs()
    hub.fault("cdn", match="00001", corrupt=True, times=1000)
    _, err = fetch(hub, home, code=4)
    assert re.search(r"model-00001-of-00002.safetensors: fetched twice.*[0-9a-f]{64} found, [0-9a-f]{64} expected", err)
    assert not (home / "hub" / "models--openai--gpt-oss-20b" / "refs").exists()
    hub.faults.clear()
    fetch(hub, home)
    assert_holds(snapshot(home), wanted(hub.files))


def test_wrong_checksum_of_a_small_file(hubs, home):
    hub = hubs()
    name = "generation_config.json"
    right, listing = hub.files[name], hub.tree()
    hub.tree = lambda: listing
    hub.files[name] = bytes(len(right))
    _, err = fetch(hub, home, code=4)
    assert name in err and re.search(r"[0-9a-f]{40} expected", err)


def test_signatures_run_out(hubs, home):
    hub = hubs()
    hub.signature_uses = 4  # of the nine parts of a file and more
    fetch(hub, home, "--part-size", "32KiB", "--connections", "2")
    assert_holds(snapshot(home), wanted(hub.files))
    assert hub.sent == large(hub)
    per_file = [sum(f"model-0000{i}" in r[1] for r in hub.asked("resolve")) for i in range(3)]
    assert min(per_file) >= 2  # the hub was asked for new ones, but not for every part
    assert sum(per_file) < len(hub.asked("cdn")) / 2


def test_without_ranges(hubs, home):
    hub = hubs()
    hub.ranges = False
    fetch(hub, home, "--part-size", "32KiB")
    assert_holds(snapshot(home), wanted(hub.files))
    hub.fault("cdn", cut=100_000, times=2)
    shutil.rmtree(home)
    fetch(hub, home, "--part-size", "32KiB")
    assert_holds(snapshot(home), wanted(hub.files))


def begin_and_hold(hub, home, more, *flags):
    """A fetch to which that many bytes were sent, but for what is under way, and which gets no more until hub.let_go()."""
    until = hub.sent + more
    hub.hold_after(more)
    process = begin(hub, home, *flags)
    while hub.sent < until and process.poll() is None:
        time.sleep(0.002)
    return process


def kill_often(hub, home, cuts, step, *flags):
    """Kills the fetch `cuts` times, each after up to `step` bytes, and lets it end at last."""
    draw = random.Random(3)
    for _ in range(cuts):
        process = begin_and_hold(hub, home, draw.choice([1, draw.randint(1, step)]), *flags)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        hub.let_go(drop=True)
    fetch(hub, home, *flags)


def test_killed_twenty_times(hubs, home):
    files = {p: d for p, d in model_files(shards=2, shard=5_000_000).items() if not p.startswith(("metal", "original"))}
    hub = hubs(files)
    hub.rate, part = 1_000_000, 192 << 10  # less than goes by between two cuts
    kill_often(hub, home, 20, 700_000, "--part-size", part, "--connections", 8)
    assert_holds(snapshot(home), wanted(files))
    print(f"{hub.sent - large(hub)} bytes twice, in 20 cuts")
    assert hub.sent - large(hub) <= 20 * part


@pytest.mark.skipif(not os.environ.get("GPTOSS_LONG"), reason="a gigabyte; GPTOSS_LONG=1 runs it")
def test_a_gigabyte_killed_twenty_times(hubs, home):
    files = {p: d for p, d in model_files(shards=2, shard=500_000_000).items() if not p.startswith(("metal", "original"))}
    hub = hubs(files)
    hub.rate, part = 50_000_000, 64 << 20
    kill_often(hub, home, 20, 50_000_000)
    assert_holds(snapshot(home), wanted(files))
    print(f"{hub.sent} bytes sent of {large(hub)}: {hub.sent - large(hub)} twice, in 20 cuts")
    assert hub.sent - large(hub) <= 20 * part


def killed_once(hub, home, *flags):
    hub.rate = 1_000_000
    process = begin_and_hold(hub, home, 700_000, *flags)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    hub.let_go(drop=True)
    hub.rate = None


def test_another_part_size_goes_on(hubs, home):
    hub = hubs(model_files(shards=1, shard=3_000_000))
    killed_once(hub, home, "--part-size", "1MiB", "--connections", "2")
    fetch(hub, home, "--part-size", "100kB")
    assert_holds(snapshot(home), wanted(hub.files))
    assert 0 <= hub.sent - large(hub) < 200_000


def test_a_broken_record_begins_anew(hubs, home):
    hub = hubs(model_files(shards=1, shard=3_000_000))
    killed_once(hub, home, "--connections", "1")
    record, = (home / "hub").rglob("*.gptoss-record")
    record.write_bytes(b"\xff" * record.stat().st_size)
    fetch(hub, home)
    assert_holds(snapshot(home), wanted(hub.files))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(hubs, home, number, code):
    hub = hubs(model_files(shards=1, shard=3_000_000))
    hub.rate = 2_000_000
    process = begin_and_hold(hub, home, 500_000, "--connections", "1")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and "interrupted" in err and err.count("ERROR") <= 1
    hub.let_go(drop=True)
    hub.rate = None
    fetch(hub, home)
    assert_holds(snapshot(home), wanted(hub.files))
    assert hub.sent < large(hub) + 500_000


@pytest.mark.parametrize("plain", [False, True])
def test_two_at_once(hubs, home, tmp_path, plain):
    hub = hubs()
    hub.hold_after(1)
    flags = ["--to", tmp_path / "plain"] if plain else []
    logs = [tmp_path / "first", tmp_path / "second"]
    both = [begin(hub, home, *flags, stderr=log.open("w")) for log in logs]
    wait_until(lambda: any("waiting for another fetch" in log.read_text() for log in logs))
    hub.let_go()
    for process in both:
        process.communicate(timeout=30)
    errors = [log.read_text() for log in logs]
    assert [p.returncode for p in both] == [0, 0], errors
    assert sum("waiting for another fetch" in e for e in errors) == 1
    assert hub.sent == large(hub)
    assert_holds(tmp_path / "plain" if plain else snapshot(home), wanted(hub.files))


def test_no_room(hubs, home):
    hub = hubs()
    hub.sizes["model-00001-of-00002.safetensors"] = 1 << 60
    _, err = fetch(hub, home, code=3)
    assert re.search(r"\d+ bytes\) are wanted, .*\d+ bytes\) are free", err) and str(1 << 60)[:6] in err
    assert not hub.asked("cdn")


def test_a_full_disk(hubs, home, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting needs rights that are not there")
    try:
        hub = hubs(model_files(shards=2, shard=300_000))
        hub.rate = 5_000_000  # so that it comes in small pieces
        process = begin_and_hold(hub, home, 1, "--to", disk)
        (disk / "other").write_bytes(bytes(500_000))  # somebody else fills it meanwhile
        hub.let_go()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 3 and "make room" in err, err
        (disk / "other").unlink()
        fetch(hub, home, "--to", disk)
        assert_holds(disk, wanted(hub.files))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_token_goes_to_the_hub_alone(hubs, home):
    hub = hubs()
    hub.token = "hf_abcdef"
    _, err = fetch(hub, home, code=2)
    assert "HTTP 401" in err and "HF_TOKEN" in err
    _, err = fetch(hub, home, code=2, env={"HF_TOKEN": "hf_wrong"})
    assert "not valid" in err and "hf_wrong" not in err
    home.mkdir(exist_ok=True)
    (home / "token").write_text("hf_abcdef\n")
    fetch(hub, home)
    shutil.rmtree(home)
    fetch(hub, home, env={"HF_TOKEN": "hf_abcdef"})
    assert hub.asked("cdn")
    assert not [r for r in hub.asked("cdn") if "Authorization" in r[2] or "hf_" in str(r)]
    _, err = fetch(hub, home, code=2, env={"HF_TOKEN": "hf\r\nX-Evil: 1"})
    assert not [r for r in hub.requests if "X-Evil" in r[2]]


@pytest.mark.parametrize("path", ["../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors", "evil\n.safetensors", "a//b", "."])
def test_hostile_paths(hubs, home, path):
    hub = hubs()
    hub.extra = [{"type": "file", "oid": "0" * 40, "size": 1, "path": path}]
    _, err = fetch(hub, home, code=4)
    assert "path" in err and not hub.asked("resolve") and not list(home.rglob("*evil*"))


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "{hub}/openai/gpt-oss-20b/resolve/x"])
def test_redirects_that_lead_astray(hubs, home, to):
    hub = hubs()
    hub.fault("resolve", times=1000, status=302, headers={"Location": to.format(hub=hub.url)})
    _, err = fetch(hub, home, code=5)
    assert "redirects to where one must not follow, or in circles" in err


def test_wrong_names(hubs, home):
    hub = hubs()
    assert "is not there (HTTP 404)" in fetch(hub, home, "--revision", "no-such", code=2)[1]
    assert "allowed is huggingface|modelscope" in fetch(hub, home, "--source", "elsewhere", code=2)[1]
    assert "allowed is a branch" in fetch(hub, home, "--revision", "../x", code=2)[1]
    assert "HF_ENDPOINT" in fetch(hub, home, code=2, env={"HF_ENDPOINT": "file:///tmp"})[1]
    odd = subprocess.run([PROGRAM, "fetch", "../x"], env=settings(hub, home), capture_output=True, text=True)
    assert odd.returncode == 2 and "no name of a model" in odd.stderr
    for name in list(hub.files):
        if name.endswith(".safetensors"):
            del hub.files[name]
    assert "*.safetensors" in fetch(hub, home, code=4)[1]


def test_no_hub(hubs, home):
    hub = hubs()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        _, err = fetch(hub, home, "--retries", "1", code=5, env={"HF_ENDPOINT": address})
    assert "gave up" in err and address in err


def test_modelscope(hubs, home):
    hub = hubs()
    env = {"MODELSCOPE_ENDPOINT": hub.url, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_abcdef"}
    out, err = fetch(hub, home, "--source", "modelscope", env=env)
    folder = home / "hub" / "models--openai--gpt-oss-20b"
    commit = (folder / "refs" / "main").read_text()
    assert out == str(folder / "snapshots" / commit) and f"model.path: {NAME}" in err
    assert_holds(folder / "snapshots" / commit, wanted(hub.files))
    assert not [r for r in hub.requests if "Authorization" in r[2]]  # the other hub's token
    assert "no such model or revision" in fetch(hub, home, "--source", "modelscope", "--revision", "x", env=env, code=2)[1]


def test_progress_on_a_terminal(hubs, home):
    hub = hubs()
    hub.rate = 300_000
    main, side = pty.openpty()
    process = subprocess.Popen([PROGRAM, "fetch", NAME], env=settings(hub, home), stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while piece := os.read(main, 65536):
            shown += piece
    os.close(main)
    assert process.wait(20) == 0
    assert re.search(rb"\[#+ +\] +\d+ % of [^,]*, [^/]*/s, left: \d+ s", shown), shown[-500:]
    assert b"100 %" in shown


def test_progress_elsewhere(hubs, home):
    _, err = fetch(hubs(), home)
    lines = [line for line in err.splitlines() if " of " in line]
    assert 1 <= len(lines) <= 12 and "\r" not in err and "\033" not in err
