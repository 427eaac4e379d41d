# What docs/operations.md says of a service of systemd, by root on Debian, as the service
# that boot.sh starts. /mnt/bin has sudo and sudoedit; /mnt/commands is the document's own.
export OPENAI_API_KEY=sk-of-the-provider
cd /mnt
/mnt/provider.test >/dev/null 2>&1 &

call() { # call MODEL: its status
  curl -s -o /mnt/answer -w '%{http_code}' localhost:8080/v1/chat/completions -H "authorization: Bearer $(cat /var/lib/aigateway/admin.key)" \
    -H 'x-aig-tag: summarize' -H 'content-type: application/json' \
    -d '{"model":"openai/'"$1"'","max_tokens":2000,"messages":[{"role":"user","content":"Hello"}]}'
}
calls() { # calls N: waits until so many are booked
  for _ in $(seq 100); do
    aigateway usage --config /etc/aigateway/aigateway.yaml -o json >/mnt/usage
    if grep -q '"requests": *"\?'"$1"'\b' /mnt/usage; then return; fi
    sleep 0.1
  done
  cat /mnt/usage
  return 1
}

. /mnt/commands

# Who it runs as, and who may read what.
test "$(systemctl is-active aigateway)" = active
test "$(stat -c '%U %a' "/proc/$(systemctl show -P MainPID aigateway)")" = 'aigateway 555'
test "$(stat -c '%U %a' /var/lib/aigateway)" = 'aigateway 700'
test "$(stat -c '%U %a' /etc/aigateway/keys /etc/aigateway/keys/openai | xargs)" = 'root 700 root 600'
if runuser -u nobody -- cat /var/lib/aigateway/admin.key; then exit 1; fi
if runuser -u nobody -- cat /run/credentials/aigateway.service/keys_openai; then exit 1; fi

# The demo's calls, with what was installed: answered, and refused.
runuser -u aigateway -- aigateway demo --exit --listen 127.0.0.1:18080
aigateway budgets set --tag summarize --monthly 0.01 --config /etc/aigateway/aigateway.yaml
test "$(call gpt-4o-mini)" = 200
calls 1
test "$(call gpt-4o)" = 402
grep -q budget_exceeded /mnt/answer

# A reload reads the file again, and what hangs is killed and starts again without loss.
systemctl reload aigateway
test "$(call gpt-4o-mini)" = 200
calls 2
mkdir -p /run/systemd/system/aigateway.service.d
printf '[Service]\nWatchdogSec=5s\n' >/run/systemd/system/aigateway.service.d/short.conf
systemctl daemon-reload
systemctl restart aigateway
kill -STOP "$(systemctl show -P MainPID aigateway)"
for _ in $(seq 300); do
  if test "$(systemctl show -P NRestarts aigateway)" = 1 && test "$(systemctl is-active aigateway)" = active; then break; fi
  sleep 0.1
done
test "$(systemctl show -P NRestarts aigateway)" = 1
test "$(call gpt-4o-mini)" = 200
calls 3

# The next package keeps what was configured, and the service runs on, restarted.
before=$(systemctl show -P MainPID aigateway)
dpkg -i /mnt/aigateway_*.deb
for _ in $(seq 300); do
  if test "$(systemctl show -P MainPID aigateway)" != "$before" && test "$(systemctl is-active aigateway)" = active; then break; fi
  sleep 0.1
done
grep -q keys_openai /etc/aigateway/aigateway.yaml
test "$(call gpt-4o-mini)" = 200
calls 4

# Removed, it is stopped and gone; configuration, keys and books stay.
dpkg -r aigateway
test "$(systemctl is-active aigateway)" = inactive
if test -e /usr/bin/aigateway || test -e /usr/lib/aigateway; then exit 1; fi
grep -q keys_openai /etc/aigateway/aigateway.yaml
test -s /etc/aigateway/keys/openai
dpkg -i /mnt/aigateway_*.deb
systemctl enable --now aigateway
calls 4

# Purged, the configuration is gone, too. Books and keys are for people to delete.
dpkg -P aigateway
if test -e /etc/aigateway/aigateway.yaml; then exit 1; fi
test -s /etc/aigateway/keys/openai
test -s /var/lib/aigateway/ledger.db
id aigateway
echo 'The story is at its end.'
