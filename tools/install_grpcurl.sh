#!/bin/sh
# Builds grpcurl into .tools/bin with the Go toolchain, through the Go module proxy.
# Usage: tools/install_grpcurl.sh
#
# Without Go the tests that need grpcurl are skipped and say so. With CI=true that is an error.
set -eu
cd "$(dirname "$0")/.."

version=v1.9.4
program=.tools/bin/grpcurl

if [ -x "$program" ] && [ "$("$program" -version 2>&1)" = "grpcurl $version" ]; then
    exit 0
fi

do_without() {
    if [ "${CI:-}" = true ]; then
        echo "grpcurl: $1. With CI=true its tests must run: install Go 1.25 or later." >&2
        exit 1
    fi
    if command -v grpcurl >/dev/null 2>&1; then
        echo "grpcurl: $1; using $(command -v grpcurl)"
    else
        echo "grpcurl: $1; tests that need it will say 'skipped'"
    fi
    exit 0
}

command -v go >/dev/null 2>&1 || do_without "no Go toolchain here"

echo "Building grpcurl $version into .tools/bin (a minute or two, once)"
mkdir -p .tools/bin
GOBIN=$(pwd -P)/.tools/bin CGO_ENABLED=0 go install -trimpath -ldflags "-X main.version=$version" \
    "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" || do_without "the build failed"
