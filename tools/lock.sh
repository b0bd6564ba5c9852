#!/bin/sh
# Writes requirements/run.txt and requirements/dev.txt from pyproject.toml.
# Usage: tools/lock.sh [--upgrade]
#
# Every version stays as it is unless pyproject.toml asks for another or --upgrade is given.
# The locks hold hashes for every platform, and neither addresses nor paths.
set -eu
cd "$(dirname "$0")/.."

uv_version=0.13.9
uv=.tools/uv/bin/uv

if ! [ -x "$uv" ] || [ "$("$uv" --version | cut -d ' ' -f 2)" != "$uv_version" ]; then
    echo "Installing uv $uv_version into .tools/uv"
    rm -rf .tools/uv
    .venv/bin/python -m venv .tools/uv
    .tools/uv/bin/python -m pip --quiet --disable-pip-version-check install "uv==$uv_version"
fi

compile() {
    output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --output-file "$output" "$@" pyproject.toml requirements/build.in
    echo "$output: $(grep -c '^[^ #].*==' "$output") packages"
}

compile requirements/run.txt --extra server --extra cli "$@"
# The run lock as constraint: one version of everything, and dev holds all of run.
compile requirements/dev.txt --extra dev --constraint requirements/run.txt "$@"
