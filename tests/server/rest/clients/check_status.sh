#!/usr/bin/env bash
# Prints where a tenant stands: check_status.sh TENANT
. "$(dirname "$0")/common.sh"
TOKEN=$(sign_in)
STATUS_RESPONSE=$(curl -sS "$API/provisioning/tenants/$1/status" -H "Authorization: Bearer $TOKEN")
LOGS=$(curl -sS "$API/provisioning/tenants/$1/logs" -H "Authorization: Bearer $TOKEN")
STATUS=$(echo "$STATUS_RESPONSE" | pick .status)
ERRORS=$(echo "$STATUS_RESPONSE" | pick '.errors | length')
LINES=$(echo "$LOGS" | pick '.logs | length')
[ "$ERRORS" -ge 0 ] && [ "$LINES" -ge 0 ]
case "$STATUS" in
NOT_STARTED | IN_PROGRESS | COMPLETED | FAILED | PARTIAL) ;;
*) exit 1 ;;
esac
echo "status=$STATUS errors=$ERRORS lines=$LINES"
if [ "$STATUS" = "PARTIAL" ] && [ "$(echo "$STATUS_RESPONSE" | pick .steps_completed)" = "0" ]; then
  echo "WARNING: partial with nothing done"
fi
if [ "$LINES" -eq 0 ]; then echo "WARNING: no log"; fi
