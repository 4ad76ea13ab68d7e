#!/usr/bin/env bash
# Makes a tenant with the platform's token, or finds it, signs in to it, and waits for it.
. "$(dirname "$0")/common.sh"
TOKEN=$(sign_in)
CODE=$(curl -sS -o "$3" -w '%{http_code}' -X POST "$API/iam/tenants" \
  -H "Content-Type: application/json" -H "Authorization: Bearer $TOKEN" \
  -d "$(new_tenant "$1" "$2")")
case "$CODE" in
200 | 201) TENANT_ID=$(pick .tenant.id <"$3") ;;
409)
  TENANT_ID=$(curl -sS "$API/iam/tenants?skip=0&limit=100" -H "Authorization: Bearer $TOKEN" |
    python3 -c 'import json, sys
print(next(t["id"] for t in json.load(sys.stdin)["tenants"] if t["name"] == sys.argv[1]))' "$1")
  ;;
*) exit 1 ;;
esac
ANSWER=$(curl -sS -X POST "$API/auth/v1/login-with-tenant" -H "Content-Type: application/json" \
  -d "{\"email\":\"$EMAIL\",\"password\":\"$PASSWORD\",\"tenant_id\":\"$TENANT_ID\"}")
TENANT_TOKEN=$(echo "$ANSWER" | pick .access_token)
[ "$(echo "$ANSWER" | pick .tenant.id)" = "$TENANT_ID" ]
for ((i = 0; i < LOOKS; i++)); do
  STATUS=$(curl -sS "$API/provisioning/tenants/$TENANT_ID/status" \
    -H "Authorization: Bearer $TENANT_TOKEN" -H "X-Tenant-ID: $TENANT_ID" | pick .status)
  echo "$CODE $STATUS"
  case "$STATUS" in
  COMPLETED | PARTIAL | COMPLETED_WITH_WARNINGS) exit 0 ;;
  FAILED) exit 1 ;;
  NOT_STARTED)
    curl -sS -X POST "$API/provisioning/tenants/$TENANT_ID/start" \
      -H "Authorization: Bearer $TENANT_TOKEN" -H "Content-Type: application/json"
    ;;
  esac
  sleep "$PAUSE"
done
exit 1
