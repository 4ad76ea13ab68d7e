#!/usr/bin/env bash
# Retries a tenant that is PARTIAL with 0 steps, if the person says y: fix_partial.sh TENANT
. "$(dirname "$0")/common.sh"
TOKEN=$(sign_in)
look() {
  curl -sS "$API/provisioning/tenants/$1/status" -H "Authorization: Bearer $TOKEN"
}
STATUS_RESPONSE=$(look "$1")
STATUS=$(echo "$STATUS_RESPONSE" | pick .status)
DONE=$(echo "$STATUS_RESPONSE" | pick .steps_completed)
if [ "$STATUS" != "PARTIAL" ] || [ "$DONE" != "0" ]; then
  echo "nothing to fix: $STATUS $DONE"
  exit 0
fi
read -r -p "Retry? (y/n) " ANSWER
[ "$ANSWER" = "y" ] || exit 0
curl -sS -X POST "$API/provisioning/tenants/$1/retry" -H "Authorization: Bearer $TOKEN" \
  -H "Content-Type: application/json" >/dev/null
for ((i = 0; i < LOOKS; i++)); do
  sleep "$PAUSE"
  STATUS=$(look "$1" | pick .status)
  echo "$STATUS"
  case "$STATUS" in COMPLETED | FAILED) break ;; esac
done
[ "$STATUS" = "COMPLETED" ]
