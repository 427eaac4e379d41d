#!/usr/bin/env bash
# Installs the clients of `make clients` into bin/clients, at the versions of
# package-lock.json and requirements*.txt, and no code of theirs runs while they
# are installed. Does nothing when they are there already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/../../bin/clients
want=$(cat "$here"/install.sh "$here"/requirements*.txt "$here"/package*.json "$here"/sdks/go.* "$here"/sdks/*/*.go | cksum)
mkdir -p "$target"
target=$(cd "$target" && pwd)

# The scripts are ours, and small: they are new each time.
rm -rf "$target/scripts"
cp -r "$here/scripts" "$target/scripts"

if [ "$(cat "$target/installed" 2>/dev/null || true)" = "$want" ]; then
  exit 0
fi
rm -rf "$target"/{installed,python,aider,go,js,codex,claude,opencode}
python=${PYTHON:-python3}

for env in python aider; do
  echo "installing into bin/clients/$env"
  requirements=requirements.txt
  if [ $env = aider ]; then requirements=requirements-aider.txt; fi
  "$python" -m venv --without-pip "$target/$env"
  "$python" -m pip --python "$target/$env/bin/python" --disable-pip-version-check install --quiet --no-deps --only-binary :all: -r "$here/$requirements"
done

echo "building programs with openai-go and anthropic-sdk-go into bin/clients/go"
mkdir "$target/go"
(cd "$here/sdks" && ${GO:-go} build -mod readonly -o "$target/go/" ./...)
# Prints the version of a module that they were built with.
printf '%s\n' '#!/bin/sh' "exec ${GO:-go} version -m \"\$(dirname \"\$0\")\" | awk -v module=\"\$1\" '\$2 == module { print \$3 }'" >"$target/go/version"
chmod +x "$target/go/version"

echo "installing Codex, Claude Code and opencode into bin/clients/js"
command -v npm >/dev/null || { echo "npm is missing: install Node 20 or newer"; exit 1; }
mkdir "$target/js"
cp "$here"/package*.json "$target/js/"
# Not npm ci: it wants every system's opencode in the lock file, which has this
# one's alone. What the lock file has is checked by its hash here too.
(cd "$target/js" && npm install --no-save --silent --no-audit --no-fund --ignore-scripts)

# Programs are in packages for one kind of machine each; npm has chosen.
link() {
  for program in "${@:2}"; do
    if [ -x "$program" ]; then
      ln -s "$program" "$target/$1"
      return
    fi
  done
  echo "no $1 for this machine among ${*:2}"
  exit 1
}
modules=$target/js/node_modules
link codex "$modules/.bin/codex"
link claude "$modules"/@anthropic-ai/claude-code-*/claude
link opencode "$modules"/opencode-*-baseline/bin/opencode "$modules"/opencode-*/bin/opencode

echo "$want" >"$target/installed"
