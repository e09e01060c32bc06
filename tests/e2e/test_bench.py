"""gptoss-tp bench: every case on the tiny checkpoint, at several ranks and layouts, as a table and as JSON."""
import json

import pytest
from conftest import LONG, ROOT, run

TINY = ROOT / "configs" / "tiny.yaml"
FAST = ["--seconds", "0.02", "--context", "40", "--set", "engine.max_tokens_per_step=64"]


def bench(ranks, model, tmp_path, *flags, code=0):
    target = tmp_path / "bench.json"
    ended = run(ranks, "bench", TINY, "--model", model, *FAST, "--json", target, *flags, timeout=300)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended, json.loads(target.read_text()) if code == 0 else None


def rows(report, case):
    return [r for r in report["results"] if r["case"] == case]


def test_all_cases_alone(tiny_model, tmp_path):
    ended, report = bench(0, tiny_model, tmp_path, "--batch", "4,1", "--prompt", "20,150", "--bandwidth", "1TB/s", "--flops", "2TFLOP/s")
    decode, prefill, load = rows(report, "decode"), rows(report, "prefill"), rows(report, "load")
    assert [r["batch"] for r in decode] == [1, 4] and all(r["context"] == 40 for r in decode)
    assert [r["prompt_tokens"] for r in prefill] == [20, 150]  # the second in three chunks
    assert len(load) == 1 and load[0]["bytes"] > 1e6
    for r in decode + prefill:
        assert r["tokens_per_second"] > 0 and 0 < r["ms_median"] <= r["ms_p99"] and r["samples"] >= 2
        assert r["share_of_roofline"] == pytest.approx(r["ms_at_roofline"] / r["ms_median"], rel=1e-6)
    for r in decode:
        assert r["ms_at_roofline"] == pytest.approx(max(r["work_of_one_rank"]["bytes"] / 1e9, r["work_of_one_rank"]["flops"] / 2e9), rel=1e-6)
        assert r["tokens_per_second"] == pytest.approx(1e3 * r["batch"] / r["ms_mean"], rel=1e-6)
    assert decode[0]["work_of_one_rank"]["bytes"] < decode[1]["work_of_one_rank"]["bytes"]
    assert not rows(report, "collectives") and any("one rank" in n for n in report["notes"])
    assert report["limits_per_rank"]["bytes_from"] == "as given"
    assert report["run"]["command"][1:3] == ["bench", str(TINY)] and report["run"]["date"].endswith("Z")
    assert report["build"]["gptoss-tp"] and report["layout"]["ranks"] == 1 and report["device"]
    table = [line.split() for line in ended.stdout.splitlines() if line.startswith("decode ")]
    assert [line[1] for line in table[1:]] == ["1", "4"]


@pytest.mark.parametrize("ranks, attention, experts, groups", [
    (1, "tp", "tp", 1), (2, "tp", "ep", 1), (2, "dp", "tp", 2), (4, "dp", "ep", 4), *([(2, "tp", "tp", 1), (2, "dp", "ep", 2), (4, "tp", "tp", 1)] if LONG else [])])
def test_layouts(tiny_model, tmp_path, ranks, attention, experts, groups):
    """Batch 3 does not divide evenly over groups, and leaves one of four without a sequence."""
    _, report = bench(ranks, tiny_model, tmp_path, "--batch", "3,8", "--prompt", "20", "--bandwidth", "9GB/s", "--set", f"parallel.attention={attention}",
                      "--set", f"parallel.experts={experts}")
    assert report["layout"]["groups"] == groups and report["layout"]["experts"] == experts
    assert [r["batch_of_one_group"] for r in rows(report, "decode")] == [-(-b // groups) for b in (3, 8)]
    assert [r["prompts"] for r in rows(report, "prefill")] == [groups]
    assert all(r["tokens_per_second"] > 0 for r in rows(report, "decode") + rows(report, "prefill"))
    collectives = rows(report, "collectives")
    names = {r["operation"] for r in collectives}
    assert names == (set() if ranks == 1 else {"all-reduce", "all-gather"} | ({"exchange"} if groups > 1 and experts == "ep" else set()))
    assert all(r["us_median"] > 0 and r["ranks"] == ranks for r in collectives)
    if ranks > 1:
        assert report["run"]["launcher"][0].endswith("mpirun") and report["run"]["ranks"] == ranks
        assert {r["rows"] for r in collectives} == {1, 4, 16, 64}


@pytest.mark.parametrize("case, expected", [("load", {"load"}), ("decode", {"load", "decode"}), ("collectives", {"collectives"})])
def test_one_case(tiny_model, tmp_path, case, expected):
    _, report = bench(2, tiny_model, tmp_path, "--case", case, "--batch", "2")
    assert {r["case"] for r in report["results"]} == expected


def test_dummy_weights_and_measured_bandwidth(tiny_model, tmp_path):
    ended, report = bench(0, tiny_model, tmp_path, "--case", "decode", "--batch", "1", "--set", "model.weights=dummy")
    assert report["limits_per_rank"]["bytes_per_second"] > 1e8 and "measured" in report["limits_per_rank"]["bytes_from"]
    assert report["model"]["weights"] == "dummy" and "dummy weights" in ended.stdout
    assert rows(report, "decode")[0]["share_of_roofline"] > 0


def test_what_does_not_fit_is_left_out(tiny_model, tmp_path):
    """Two terabytes of KV cache."""
    most = ["--batch", "8192", "--context", "16384"]
    ended, report = bench(0, tiny_model, tmp_path, "--prompt", "20", *most)
    assert not rows(report, "decode") and len(rows(report, "prefill")) == 1
    assert any("batch 8192" in n for n in report["notes"]) and "left out: batch 8192" in ended.stdout
    ended, _ = bench(2, tiny_model, tmp_path, "--case", "decode", *most, code=3)
    assert len([line for line in ended.stderr.splitlines() if " error" in line and "--batch" in line]) == 1, ended.stderr


@pytest.mark.parametrize("ranks", [0, 2] if LONG else [0])
@pytest.mark.parametrize("flags, code, says", [
    (["--case", "speed"], 2, "--case"), (["--batch", "1,x"], 2, "--batch"), (["--context", "999999"], 2, "--context"),
    (["--prompt", "999999"], 2, "--prompt"), (["--json", "/nowhere/at/all.json"], 2, "/nowhere/at/all.json"),
    (["--model", "/nowhere"], 4, "/nowhere"), (["--batches", "4"], 2, "--batch"), (["--backend", "cuda"], (2, 3), "backend"),
])
def test_wrong_use_is_one_line(tiny_model, monkeypatch, ranks, flags, code, says):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ended = run(ranks, "bench", TINY, "--model", tiny_model, *flags)
    assert ended.returncode in (code if isinstance(code, tuple) else (code,)), ended.stderr
    ours = [line for line in ended.stderr.splitlines() if " error" in line and says in line]
    assert len(ours) == 1, ended.stderr
