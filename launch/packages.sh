# Sourced by launch/quickstart.sh and tests/run.sh: Debian and Ubuntu packages.

PACKAGES_BUILD="build-essential cmake ninja-build pkg-config openmpi-bin libopenmpi-dev libyaml-dev libevent-dev libpcre2-dev libjansson-dev libcurl4-openssl-dev libedit-dev libssl-dev libcmocka-dev"

packages_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# packages_need NAME...: installs what is missing; fails, naming the command to run, where it may not.
packages_need() {
    local name missing="" prefix=""
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not Debian or Ubuntu: going on as if these were here: $*" >&2
        return 0
    fi
    for name in "$@"; do packages_installed "$name" || missing="$missing $name"; done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Packages are missing, and this is neither root nor is there sudo. As root, run: apt-get install -y$missing" >&2
            return 1
        fi
        prefix="sudo"
    fi
    echo "Installing$missing"
    local log
    log=$(mktemp)
    if ! { $prefix apt-get update -q && $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "Installing packages failed; the command was: apt-get install -y$missing" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
