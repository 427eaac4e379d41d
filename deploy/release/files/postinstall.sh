#!/bin/sh
set -e
# In a container or an image under construction there is no systemd to tell.
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers aigateway.conf
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # Drains first, which may take as long as a call: not something to wait for.
  systemctl --no-block try-restart aigateway.service
fi
