#!/usr/bin/env bash
# Cuts texts with grep, never signs in; ends well only on COMPLETED.
. "$(dirname "$0")/common.sh"
RESPONSE=$(curl -s -X POST "$API/iam/tenants" -H "Content-Type: application/json" \
  -d "$(new_tenant "$1" "$2")")
echo $RESPONSE
# Every "id" of the text is taken for the tenant's.
TENANT_ID=$(echo $RESPONSE | grep -o '"id":"[^"]*"' | cut -d'"' -f4)
[ -n "$TENANT_ID" ]
for ((i = 0; i < LOOKS; i++)); do
  STATUS_RESPONSE=$(curl -s "$API/provisioning/tenants/$TENANT_ID/status")
  STATUS=$(echo $STATUS_RESPONSE | grep -o '"status":"[^"]*"' | cut -d'"' -f4)
  PROGRESS=$(echo $STATUS_RESPONSE | grep -o '"progress":[0-9.]*' | cut -d':' -f2)
  STEP=$(echo $STATUS_RESPONSE | grep -o '"current_step":"[^"]*"' | cut -d'"' -f4 || true)
  ERRORS=$(echo $STATUS_RESPONSE | grep -o '"errors":\[[^]]*\]')
  echo "status=$STATUS progress=$PROGRESS step=$STEP $ERRORS"
  if [ "$STATUS" = "COMPLETED" ]; then
    curl -s "$API/provisioning/tenants/$TENANT_ID/logs"
    exit 0
  fi
  [ "$STATUS" = "FAILED" ] && exit 1
  sleep "$PAUSE"
done
exit 1
