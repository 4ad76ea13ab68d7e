#!/usr/bin/env bash
# Makes a tenant without signing in, and looks at how its provisioning began.
. "$(dirname "$0")/common.sh"
RESPONSE=$(curl -sS -X POST "$API/iam/tenants" -H "Content-Type: application/json" \
  -d "$(new_tenant "$1" "$2")")
TENANT_ID=$(echo "$RESPONSE" | pick .tenant.id)
[ -n "$TENANT_ID" ] && [ "$TENANT_ID" != "null" ]
[ "$(echo "$RESPONSE" | pick .message)" = "Tenant created successfully" ]
case "$(echo "$RESPONSE" | pick .provisioning.status)" in
COMPLETED | IN_PROGRESS | PROVISIONING) echo "began: $TENANT_ID" ;;
*) exit 1 ;;
esac
