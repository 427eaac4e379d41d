#!/usr/bin/env bash
# Installs what the test of the page at /ui/ drives a browser with into bin/browser,
# checked by the hashes of package-lock.json, and Debian's Chromium where there is
# none (as root; elsewhere install one, or name it in CHROMIUM).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/../../bin/browser
want=$(cat "$here"/install.sh "$here"/package*.json | cksum)
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null; then
  echo "installing Chromium"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
fi
if [ "$(cat "$target/installed" 2>/dev/null || true)" = "$want" ]; then
  exit 0
fi
echo "installing playwright-core and axe-core into bin/browser"
rm -rf "$target"
mkdir -p "$target"
cp "$here"/package*.json "$target/"
npm=(npm)
if ! command -v npm >/dev/null; then # the one that the SDKs' tests installed
  node=$(readlink -f "$here/../../bin/sdk/node")
  npm=("$node" "$(dirname "$node")/../lib/node_modules/npm/bin/npm-cli.js")
fi
(cd "$target" && "${npm[@]}" ci --silent --no-audit --no-fund --ignore-scripts)
echo "$want" >"$target/installed"
