# Gets the PgBouncer of this machine's Debian, without installing it: a service would
# be started. Prints its folder. Does nothing when it is there already.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}
[ "$(id -u)" != 0 ] || cache=/var/cache # it does not run as root, and whom it runs as must be able to read it
target=$cache/aigateway/pgbouncer-debian-$(. /etc/os-release && echo "$VERSION_ID")
if [ ! -d "$target" ]; then
  mkdir -p "$cache/aigateway"
  got=$(mktemp -d)
  trap 'rm -rf "$got"' EXIT
  chmod 755 "$got"
  [ "$(id -u)" != 0 ] || apt-get update -qq >&2
  libraries=$(apt-cache depends pgbouncer | sed -nE 's/.*Depends: (lib(event|c-?ares).*)/\1/p') # the others are everywhere
  (cd "$got" && apt-get download -qq -o APT::Sandbox::User=root pgbouncer $libraries >&2)
  mkdir "$got/root"
  for package in "$got"/*.deb; do dpkg-deb --extract "$package" "$got/root"; done
  mv -T "$got/root" "$target.$$"
  mv -T "$target.$$" "$target" 2>/dev/null || rm -rf "$target.$$" # another one was faster
fi
echo "$target"
