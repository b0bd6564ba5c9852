#!/bin/sh
# Installs curl, nghttp and h2load, with which the transport is tested, where that is allowed (root on Debian).
# Usage: tools/install_http2_clients.sh
#
# Without them their tests are skipped and say so.
set -eu

missing=
for program in curl nghttp h2load; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing the system packages curl and nghttp2-client"
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq curl nghttp2-client >/dev/null; then
        exit 0
    fi
fi
echo "not installed:$missing; tests that need them will say 'skipped'"
