#!/bin/sh
set -e
# "upgrade" (deb) and 1 (rpm): another version follows, and it restarts the service.
case "$1" in
upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now aigateway.service
fi
