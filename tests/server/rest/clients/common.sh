# What the scripts share: reading JSON with jq where there is one, else with Python.
# API is the base URL, PAUSE the seconds between two looks, LOOKS how many of them.
set -euo pipefail
API=${API:?}
PAUSE=${PAUSE:-2}
LOOKS=${LOOKS:-300}
EMAIL=${EMAIL:-admin@moran.com}
PASSWORD=${PASSWORD:-admin123}

if command -v jq >/dev/null 2>&1; then
  pick() { jq -r "$1"; }
else
  # Enough of jq for what is asked here: .a.b, .a[0].b, and a length at the end.
  pick() {
    python3 -c '
import json, re, sys
value = json.load(sys.stdin)
path, _, last = sys.argv[1].partition(" | ")
for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
    value = (value or {}).get(key) if key else value[int(index)]
if last == "length":
    value = len(value)
print("null" if value is None else value if isinstance(value, str) else json.dumps(value))
' "$1"
  }
fi

sign_in() {
  local answer token
  answer=$(curl -sS -X POST "$API/auth/login" -H 'Content-Type: application/json' \
    -d "{\"email\":\"$EMAIL\",\"password\":\"$PASSWORD\"}")
  token=$(echo "$answer" | pick .access_token)
  if [ -z "$token" ] || [ "$token" = "null" ]; then
    echo "login failed: $answer" >&2
    exit 1
  fi
  echo "$token"
}

new_tenant() {
  printf '{"name":"%s","admin_email":"%s","admin_name":"Test Admin","admin_password":"Test1234!","category":"Enterprises","country_code":"KE","engine":"erpnext"}' "$1" "$2"
}
