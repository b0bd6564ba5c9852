#!/bin/sh
# Makes or refreshes the project's virtual environment in .venv from a lock.
# Usage: tools/environment.sh run|dev
#
#   run   what `make run` needs (requirements/run.txt)
#   dev   that and everything for tests and checks (requirements/dev.txt)
#
# When it returns 0, .venv holds exactly the locked versions and the project itself, editable.
# A second call with nothing changed returns at once. PYTHON=… chooses the interpreter.
set -eu

mode=${1:-}
case $mode in
run | dev) lock=requirements/$mode.txt ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."

# Two makes at once (a server here, tests there) must not install into one folder together.
mkdir -p .tools
if command -v flock >/dev/null 2>&1; then
    exec 9>.tools/environment.lock
    flock 9
fi

# What an installation depends on. The path counts because scripts in .venv name it.
fingerprint() {
    { cat "$lock" pyproject.toml && pwd -P; } | cksum
}

usable() {
    [ -f .venv/.path ] && [ "$(cat .venv/.path)" = "$(pwd -P)" ] && .venv/bin/python -c 'import pip' 2>/dev/null
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Sets `python`; returns 1 if no interpreter will do.
find_python() {
    python=
    for candidate in ${PYTHON:-python3.11 python3 /usr/bin/python3}; do
        if new_enough "$candidate" && "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            python=$candidate
            return 0
        fi
    done
    return 1
}

if usable && [ "$(cat ".venv/.installed-$mode" 2>/dev/null)" = "$(fingerprint)" ]; then
    exit 0
fi

if ! usable; then
    if ! find_python && [ "$mode" = dev ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "No Python 3.11 or later with venv here: installing the system package python3-venv."
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq python3-venv
    fi
    if ! find_python; then
        {
            echo "Parley needs Python 3.11 or later with its venv module. On Debian 12 or later:"
            echo "    sudo apt-get install --yes python3-venv"
            echo "Another interpreter: make PYTHON=/path/to/python3"
        } >&2
        exit 1
    fi
    echo "Creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    pwd -P >.venv/.path
fi

pip() {
    # The caller's pip settings must not move the installation out of .venv.
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@"
}

count=$(grep -c '^[^ #].*==' "$lock")
echo "Installing $count locked packages into .venv (a minute or two the first time)"
rm -f .venv/.installed-*
pip install --require-hashes --requirement "$lock"
pip install --no-deps --no-build-isolation --editable .
fingerprint >".venv/.installed-$mode"
if [ "$mode" = dev ]; then
    # The dev lock is made with the run lock as its constraint: it holds all of it.
    lock=requirements/run.txt
    fingerprint >.venv/.installed-run
fi
