#!/bin/sh
# Installs tmux, which drives the terminal client in its tests: a system package, where this may install one.
# Usage: tools/install_tmux.sh
#
# Without tmux the tests that need it are skipped and say so. With CI=true that is an error.
set -eu

command -v tmux >/dev/null 2>&1 && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing the system package tmux"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq tmux >/dev/null || true
fi
command -v tmux >/dev/null 2>&1 && exit 0

if [ "${CI:-}" = true ]; then
    echo "tmux: not here and not installable. With CI=true its tests must run: apt-get install tmux" >&2
    exit 1
fi
echo "tmux: not here; tests that need it will say 'skipped'. On Debian: sudo apt-get install tmux"
