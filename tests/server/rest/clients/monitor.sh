#!/usr/bin/env bash
# Signs in, makes a tenant, watches it until it stands still, and prints its log.
. "$(dirname "$0")/common.sh"
TOKEN=$(sign_in)
RESPONSE=$(curl -sS -X POST "$API/iam/tenants" -H "Content-Type: application/json" \
  -H "Authorization: Bearer $TOKEN" -d "$(new_tenant "$1" "$2")")
TENANT_ID=$(echo "$RESPONSE" | pick .tenant.id)
for ((i = 0; i < LOOKS; i++)); do
  STATUS_RESPONSE=$(curl -sS "$API/provisioning/tenants/$TENANT_ID/status" \
    -H "Authorization: Bearer $TOKEN")
  STATUS=$(echo "$STATUS_RESPONSE" | pick .status)
  DONE=$(echo "$STATUS_RESPONSE" | pick .steps_completed)
  TOTAL=$(echo "$STATUS_RESPONSE" | pick .total_steps)
  # Integer tests: 0.0 would end the script.
  if [ "$DONE" -gt "$TOTAL" ]; then exit 2; fi
  echo "$STATUS $DONE/$TOTAL $(echo "$STATUS_RESPONSE" | pick .current_step)"
  case "$STATUS" in
  COMPLETED | FAILED | PARTIAL)
    curl -sS "$API/provisioning/tenants/$TENANT_ID/logs" -H "Authorization: Bearer $TOKEN" |
      pick '.logs | length'
    exit 0
    ;;
  esac
  sleep "$PAUSE"
done
exit 1
