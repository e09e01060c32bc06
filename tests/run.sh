#!/usr/bin/env bash
# Installs what the tests need, builds, runs everything, and ends with a summary. Exit code 0 only if all passed.
#   tests/run.sh                  all parts: release asan fuzz python
#   tests/run.sh --only PARTS     some of them, separated by commas
#   tests/run.sh --long           more fuzzing inputs, every client and rank count under the sanitizers too, and the tests that $GPTOSS_LONG asks for
#   tests/run.sh --gpu            the tests that need a GPU as well
set -uo pipefail
cd "$(dirname "$0")/.."
. launch/packages.sh

parts="release,asan,fuzz,python"
long=0
gpu=0
while [ $# -gt 0 ]; do
    case $1 in
    --only) parts=${2:?--only needs parts: release, asan, fuzz, python}; shift ;;
    --only=*) parts=${1#--only=} ;;
    --long) long=1 ;;
    --gpu) gpu=1 ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown argument $1; see tests/run.sh --help" >&2; exit 2 ;;
    esac
    shift
done
for part in ${parts//,/ }; do
    case $part in
    release | asan | fuzz | python) ;;
    *) echo "--only: found '$part', allowed are release, asan, fuzz, python" >&2; exit 2 ;;
    esac
done
wants() { case ",$parts," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }

LOGS=build/logs
mkdir -p $LOGS
began=$SECONDS
trap 'kill $(jobs -p) 2>/dev/null' EXIT
failed=0
summary=""
fuzz_runs=5000
accuracy_each=5 # questions of each kind
workers=$(($(nproc) + 1)) # tests side by side, many of which mostly wait
clients=$((workers < 6 ? workers : 6)) # files of Python tests side by side, each with servers of its own
architectures=90a # with --long others too
if [ $long -eq 1 ]; then
    export GPTOSS_LONG=1
    fuzz_runs=2000000
    accuracy_each=40
    architectures="80;90a;100"
fi
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1 # tests run side by side: threads and ranks that wait must not spin
export UBSAN_OPTIONS=print_stacktrace=1
# What Open MPI itself never frees is no leak of ours (tests/comm/keep_modules.c lets the check tell).
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export GPTOSS_TESTS_DIR=$PWD/tests

# Of the log of a step that failed: its end, and before it the lines further up that say what failed.
show_failure() {
    head -n -60 "$1" | grep -E '^(FAILED|ERROR) |\*\*\*(Failed|Timeout|Exception|Not Run)|\[  FAILED  \] |: error: ' | head -n 40
    tail -n 60 "$1"
}

# step NAME COMMAND...: runs it into a log, of which something is shown only if it fails.
step() {
    local name=$1 start=$SECONDS code=0
    shift
    printf '%-22s' "$name"
    "$@" >"$LOGS/$name.log" 2>&1 || code=$?
    if [ $code -eq 0 ]; then
        printf 'ok      %4d s\n' $((SECONDS - start))
    else
        printf 'FAILED  %4d s   %s\n' $((SECONDS - start)) "$LOGS/$name.log"
        show_failure "$LOGS/$name.log"
        failed=$((failed + 1))
    fi
    return $code
}

note() { summary="$summary$(printf '%-22s%s' "$1" "$2")"$'\n'; }

# Of a ctest log: programs, and the cmocka cases inside them.
count_ctest() {
    local programs cases bad
    programs=$(sed -n 's/.*tests failed out of \([0-9]*\)$/\1/p' "$1" | awk '{ n += $1 } END { print n + 0 }')
    cases=$(sed -n 's/.*\[  PASSED  \] \([0-9]*\) test(s)\..*/\1/p' "$1" | awk '{ n += $1 } END { print n + 0 }')
    bad=$(sed -n 's/.*, \([0-9]*\) tests failed out of.*/\1/p' "$1" | awk '{ n += $1 } END { if (NR) print n }')
    echo "${programs:-0} programs, $cases cases passed, ${bad:-?} programs failed"
}

# No build goes on beside tests: ranks wait for each other's turns then, which costs more than idle cores do, and some tests look at the time.
build() { cmake --preset "$1" "${@:2}" && cmake --build --preset "$1"; }
build_release() { build release "-DGPTOSS_CUDA_ARCHITECTURES=$architectures"; }
# Less optimised and described than the preset says: two thirds of the time to build, and the tests take no longer.
build_asan() { build asan "-DGPTOSS_CUDA_ARCHITECTURES=$architectures" "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG"; }
build_fuzz() { cmake --preset fuzz "-DGPTOSS_FUZZ_RUNS=$fuzz_runs" && cmake --build --preset fuzz --target fuzz_targets; }

# ctest -V keeps the counts of cases in the log. What measures times runs alone.
run_ctest() {
    local with="ctest --test-dir build/$1 -V --timeout 300" without="" code=0
    if [ $long -eq 0 ]; then without="|long"; fi
    $with -L timed -LE "nothing$without" || code=1
    $with -j "$workers" -LE "timed$without" || code=1
    return $code
}

# Under the sanitizers a minute of clients becomes five: by default those that feed the program bad or unusual input, with --long all.
run_python() {
    local preset=$1 server=tests/server what=tests/e2e spread=loadfile code=0
    if [ "$preset" = asan ] && [ $long -eq 0 ]; then
        server="tests/server/test_http_hostile.py tests/server/test_forced_output.py"
        what=tests/e2e/test_hostile.py
        spread=load # which are few files
    fi
    # One call each: two folders have a conftest.
    if [ "$preset" = release ]; then build/venv/bin/python -m pytest tests/grammar -q -rfEs -p no:cacheprovider || code=1; fi
    for folder in "$server" "$what"; do
        # shellcheck disable=SC2086
        build/venv/bin/python -m pytest $folder -n "$clients" --dist $spread -q -rfEs --durations=8 -p no:cacheprovider || code=1
    done
    return $code
}

make_venv() {
    local stamp=build/venv/requirements.txt pip="build/venv/bin/pip install -q --disable-pip-version-check"
    if ! cmp -s tests/requirements.txt $stamp; then
        rm -rf build/venv
        python3 -m venv build/venv && $pip -r tests/requirements.txt && cp tests/requirements.txt $stamp || return 1
    fi
    if [ $long -eq 1 ]; then $pip -r tests/requirements-long.txt; fi
}

wait_venv() { wait "$venv" || { cat "$LOGS/venv-install.log"; return 1; }; }

make_venv_litellm() {
    python3 -m venv build/venv-litellm && build/venv-litellm/bin/pip install -q --disable-pip-version-check -r tests/requirements-litellm.txt
}

packages="$PACKAGES_BUILD"
if wants fuzz; then packages="$packages clang libomp-dev"; fi
if wants python; then packages="$packages python3 python3-venv procps"; fi
# shellcheck disable=SC2086
packages_need $packages || exit 1
# The page is tested in a browser. Ubuntu has it as a snap only: there test_page.py says why it is skipped.
if wants python && [ $long -eq 1 ]; then packages_need chromium chromium-driver fonts-dejavu-core || note browser "SKIPPED: no chromium to be had"; fi

# Fetching packages is mostly waiting: beside the first build.
if wants python; then make_venv >"$LOGS/venv-install.log" 2>&1 & venv=$!; fi

# test_build PRESET COMMAND...: the command builds it.
test_build() {
    local preset=$1
    shift
    if ! step "build-$preset" "$@"; then
        note "$preset" "does not build"
        return
    fi
    step "test-$preset" run_ctest "$preset"
    note "$preset" "$(count_ctest "$LOGS/test-$preset.log")"
}

test_python() {
    local preset=$1
    if [ ! -x "build/$preset/launch/gptoss-tp" ]; then
        wants "$preset" || note "python-$preset" "skipped: not built"
        return
    fi
    export GPTOSS_BUILD_DIR=$PWD/build/$preset
    step "python-$preset" run_python "$preset"
    note "python-$preset" "$(grep -E '^[0-9]+ (passed|failed|error|skipped).* in ' "$LOGS/python-$preset.log" | sed 's/ in [0-9.]*s.*//' | paste -sd '+' | sed 's/+/ + /g')"
}

if wants release; then test_build release build_release; fi
python=false
if wants python && step venv wait_venv; then python=true; fi
if $python; then test_python release; fi
if wants asan; then test_build asan build_asan; fi
if wants fuzz; then
    if step build-fuzz build_fuzz; then
        step test-fuzz ctest --test-dir build/fuzz -V -j "$(nproc)" -L fuzz --timeout 3000
        note fuzz "$(count_ctest "$LOGS/test-fuzz.log" | sed 's/ programs, .* cases passed/ targets/'), $fuzz_runs inputs each"
    else
        note fuzz "does not build"
    fi
fi
if $python; then
    test_python asan
    if [ $long -eq 1 ] && [ -x build/release/launch/gptoss-tp ] && step venv-litellm make_venv_litellm; then
        GPTOSS_BUILD_DIR=$PWD/build/release step litellm build/venv-litellm/bin/python -m pytest tests/e2e/test_litellm.py -q -rfEs -p no:cacheprovider
        note litellm "$(tail -n 1 "$LOGS/litellm.log")"
    fi
    if [ -x build/release/launch/gptoss-tp ]; then
        step tiny-accuracy build/venv/bin/python tests/tiny/measure.py --model tests/data/tiny --program build/release/launch/gptoss-tp --each $accuracy_each
        note tiny-accuracy "$(sed -n 's/^all  *//p' "$LOGS/tiny-accuracy.log") of the held-out questions right"
    fi
fi

if [ $gpu -eq 1 ]; then
    if ! nvidia-smi -L >/dev/null 2>&1; then
        note gpu "SKIPPED: this machine has no NVIDIA GPU"
    else
        # The backend suite and the device transports ran with the release tests: they take every backend that opens.
        for ranks in 1 2 4; do
            step "gpu-goldens-$ranks" mpirun --oversubscribe -np $ranks build/release/tests/model/test_goldens cuda
            step "gpu-gentle-$ranks" mpirun --oversubscribe -np $ranks build/release/tests/model/test_gentle cuda
        done
        GPTOSS_BACKEND=cuda GPTOSS_BUILD_DIR=$PWD/build/release step gpu-clients build/venv/bin/python -m pytest -q -rfEs -p no:cacheprovider \
            tests/e2e/test_gpu.py tests/e2e/test_job.py tests/e2e/test_hostile.py tests/e2e/test_openai_client.py tests/e2e/test_meaning.py \
            tests/e2e/test_goldens.py tests/e2e/test_constrained.py tests/e2e/test_gpu_long.py
        for program in build/release/tests/kernels/test_kernels_*; do
            step "gpu-memory-${program##*_kernels_}" compute-sanitizer --error-exitcode 1 "$program"
        done
        note gpu "goldens at 1, 2 and 4 ranks on one GPU, clients, memory checks of the backend suite"
    fi
fi

printf '\n%s' "$summary"
total=$((SECONDS - began))
if [ $failed -gt 0 ]; then
    printf '%d step(s) FAILED, %d min %02d s\n' $failed $((total / 60)) $((total % 60))
    exit 1
fi
printf 'all passed, %d min %02d s\n' $((total / 60)) $((total % 60))
