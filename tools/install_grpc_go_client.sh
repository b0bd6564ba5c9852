#!/bin/sh
# Builds tests/wire/grpc_go_client into .tools/grpc_go_client, through the Go module proxy.
# Usage: tools/install_grpc_go_client.sh
#
# Built again only when its sources or the toolchain change. Without Go its tests are skipped and say so. With
# CI=true that is an error.
set -eu
cd "$(dirname "$0")/.."

sources=tests/wire/grpc_go_client
folder=$(pwd -P)/.tools/grpc_go_client

do_without() {
    echo "grpc_go_client: $1" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

command -v go >/dev/null 2>&1 || do_without "no Go toolchain here; its tests need Go 1.25 or later"
version=$(cat "$sources"/*.go "$sources"/go.mod "$sources"/go.sum | cksum; go env GOVERSION)
if [ -x "$folder/grpc_go_client" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

echo "Building grpc_go_client into .tools/grpc_go_client (up to a minute, once)"
mkdir -p "$folder"
rm -f "$folder/version"
# In place of the old one only when it is whole: several test runs may build at a time.
new="$folder/grpc_go_client.$$"
(cd "$sources" && CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -o "$new" .) || {
    rm -f "$new"
    do_without "the build failed"
}
mv "$new" "$folder/grpc_go_client"
printf '%s\n' "$version" >"$folder/version"
