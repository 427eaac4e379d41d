#!/usr/bin/env bash
# Runs make.py with the pinned packages of requirements.txt, and the counts it makes
# of random texts against those of package pricing.
# requirements.txt is what `uv pip compile --generate-hashes --no-deps` writes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/python"
python3 -m pip --python "$work/python/bin/python" --disable-pip-version-check install --quiet --no-deps --require-hashes -r "$here/requirements.txt"
"$work/python/bin/python" "$here/make.py"
"$work/python/bin/python" "$here/make.py" --texts "$work/texts.jsonl" "${TEXTS:-50000}"
cd "$here/../.."
git diff --stat -- pricing/vocabularies pricing/testdata/vocabularies.jsonl
go test -count=1 ./pricing -run TestAgainstVendors -v -texts "$work/texts.jsonl"
