#!/usr/bin/env bash
# Measures and tests hotfolder on a machine that has a card, Python 3.12, torch and torchvision, and no network.
#
#   tools/gpu_run.sh pack [FOLDER]          with a network: fills FOLDER (.gpu) with the wheels that go along, so that they
#                                           and the repository are <= 64 MiB; needs uv, git, and pip in $PYTHON
#   tools/gpu_run.sh bench|tests|all [FOLDER]   there, in the repository, with FOLDER in it: no network is used
#
# FOLDER is ignored by git: what copies the repository has to be told of it.
#
# What comes of it lies in $OUT (gpu-out): bench-all.json (written anew after each part), bench-all.txt, bench-all.log,
# cuda-tests.txt (written as it goes, with the name of each test), cuda-failed.txt (why one failed, written at once),
# cuda-tests.xml. $PYTHON is the interpreter that has torch (python3). $BENCH holds more options of
# `hotfolder bench all`, such as --quick. Time limits, in seconds: $BENCH_SECONDS (450), $TESTS_SECONDS (270). Both,
# with unpacking and the start of a machine, fit into a quarter of an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-}
carried=${2:-.gpu}
python=${PYTHON:-python3}
most_mib=64
# What torch and torchvision bring with them. Their versions stay those of the machine.
there='torch|torchvision|triton|nvidia-.*|cuda-.*|numpy|pillow|sympy|mpmath|networkx|setuptools'
# What nothing here asks for: downloads, and the installer that sqlite-utils has for its plugins.
unused='hf-xet|pip'
# For the tests, beside what pyproject.toml names.
tests='pytest pytest-xdist psutil'

pack() {
    mkdir -p "$carried/wheels"
    find "$carried/wheels" -name '*.whl' -delete
    for each in $tests; do echo "$each"; done |
        uv pip compile --quiet --no-header --no-annotate --python-version 3.12 \
            --python-platform x86_64-manylinux_2_28 --output-file "$carried/all.txt" pyproject.toml - >/dev/null
    grep -vE "^($there|$unused)==" "$carried/all.txt" >"$carried/carried.txt"
    # pip takes a platform by its exact name.
    local platforms=()
    for libc in 2_28 2_27 2_26 2_24 2_17 2_12 2_5; do platforms+=(--platform "manylinux_${libc}_x86_64"); done
    for year in 2014 2010 1; do platforms+=(--platform "manylinux${year}_x86_64"); done
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.12 "${platforms[@]}" \
        --dest "$carried/wheels" --requirement "$carried/carried.txt"
    slim
    local wheels tree
    wheels=$(find "$carried" -type f -printf '%p\0' | kib)
    tree=$(git ls-files -z --cached --others --exclude-standard | kib)
    echo "$(find "$carried/wheels" -name '*.whl' | wc -l) wheels, $((wheels / 1024)) MiB, in $carried/wheels;" \
        "with the repository's $((tree / 1024)) MiB it is $(((wheels + tree) / 1024)) MiB that travel"
    if ((wheels + tree > most_mib * 1024)); then
        echo "that is more than $most_mib MiB: the largest wheels are" >&2
        ls -lS "$carried/wheels" | head -6 >&2
        exit 1
    fi
}

# Of the files that are named on stdin, with a zero after each name.
kib() {
    "$python" -c 'import os, sys
names = sys.stdin.buffer.read().split(b"\0")
print(sum(os.lstat(name).st_size for name in names if os.path.lexists(name)) // 1024)'
}

# imagecodecs is half of it all, and nearly all of that is codecs that nothing here uses.
slim() {
    "$python" - "$carried/wheels" <<'END'
import pathlib, re, sys, zipfile
used = re.compile(
    r"imagecodecs/(?!_[^_])|imagecodecs/_(imcd|shared|shared_cython|cms|png|zlib|deflate)\."
    r"|imagecodecs\.libs/lib(lcms2|png|z|deflate)\d*-|.*\.dist-info/"
)
for wheel in pathlib.Path(sys.argv[1]).glob("imagecodecs-*.whl"):
    slimmer = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(slimmer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            if used.match(member.filename):
                new.writestr(member, old.read(member))
    slimmer.replace(wheel)
END
}

# Wheels are archives: unpacking them needs no installer.
unpack() {
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" - "$site" "$carried/wheels" <<'END'
import pathlib, sys, zipfile
site, wheels = map(pathlib.Path, sys.argv[1:])
found = sorted(wheels.glob("*.whl"))
if not found:
    sys.exit(f"there is no wheel in {wheels}: tools/gpu_run.sh pack, where there is a network")
for wheel in found:
    zipfile.ZipFile(wheel).extractall(site)
END
    # Once, on all cores: else the first process of each library does it, on one. Some files of them are no Python.
    "$python" -W ignore -m compileall -qq -j 0 "$site" || true
    export PYTHONPATH="$site:$PWD" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYTHONUNBUFFERED=1
    unset HOTFOLDER_ROOT
    export XDG_CACHE_HOME="$site/cache"
}

# `limit SECONDS COMMAND…`: it is interrupted, as with Ctrl-C, so that it says what it has; what hangs is killed.
limit() {
    local seconds=$1 heard=()
    shift
    # Whoever started this may ignore interrupts, and Python would then, too.
    if env --default-signal=INT true 2>/dev/null; then heard=(env --default-signal=INT); fi
    "${heard[@]}" timeout --signal=INT --kill-after=20 "$seconds" "$@"
}

bench() {
    local seconds=${BENCH_SECONDS:-450} code=0 within
    within=$((seconds > 60 ? seconds - 15 : seconds)) # it ends by itself before the limit, with what it has
    # shellcheck disable=SC2086 # options, several
    limit "$seconds" "$python" -m hotfolder bench all --out "$out/bench-all.json" \
        --minutes "$((within / 60)).$(printf %02d $((within % 60 * 100 / 60)))" ${BENCH:-} \
        >"$out/bench-all.txt" 2>"$out/bench-all.log" || code=$?
    cat "$out/bench-all.txt"
    tail -n 40 "$out/bench-all.log"
    echo "bench all ended with $code after at most $seconds s"
    return "$code"
}

# Those first that tell most.
modules='tests/cuda/test_engines.py tests/cuda/test_memory.py tests/cuda/test_contract.py'

tests() {
    local seconds=${TESTS_SECONDS:-270} code=0
    rm -f "$out/cuda-failed.txt"
    # The machine's own plug-ins of pytest stay out of it.
    export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 TESTS_FAILED="$out/cuda-failed.txt"
    # shellcheck disable=SC2086 # files, several
    limit "$seconds" "$python" -m pytest -o addopts="-ra --strict-markers" -o faulthandler_timeout=90 \
        -p no:cacheprovider -p tests.support.failures -v --tb=short -m cuda --durations=10 \
        --junitxml="$out/cuda-tests.xml" $modules \
        >"$out/cuda-tests.txt" 2>&1 || code=$?
    tail -n 60 "$out/cuda-tests.txt"
    echo "the tests marked cuda ended with $code after at most $seconds s"
    return "$code"
}

out=${OUT:-$PWD/gpu-out}
case $what in
pack) pack ;;
bench | tests | all)
    mkdir -p "$out"
    unpack
    code=0
    [[ $what == tests ]] || bench || code=$?
    [[ $what == bench ]] || tests || code=$?
    exit "$code"
    ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
esac
