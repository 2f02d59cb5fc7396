#!/usr/bin/env bash
# The main job of Strongroom, told on a terminal: an application gets a database user that lives exactly as long as it
# does. Everything is real: the server (TLS, embedded store, key shares), PostgreSQL, and every command that is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PROGRAM="$PWD/target/release/strongroom"
[ -x "$PROGRAM" ] || { echo "target/release/strongroom is missing; run: make demo" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/strongroom-demo.XXXXXX")
chmod 711 "$work"
server_pid= run_pid=
finish() {
    status=$?
    [ -n "$run_pid" ] && kill -9 "$run_pid" 2>/dev/null || true
    [ -n "$server_pid" ] && kill "$server_pid" 2>/dev/null && wait "$server_pid" 2>/dev/null || true
    [ -f "$work/pg/postmaster.pid" ] && as_postgres "$(pg pg_ctl)" -D "$work/pg" -m immediate stop >/dev/null 2>&1 || true
    if [ "$status" -ne 0 ]; then
        echo "The demo stopped with status $status. The server's log ended with:" >&2
        tail -n 15 "$work/server.log" >&2 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold= dim= green= off=; fi
chapter() { printf '\n%s== %s ==%s\n' "$bold" "$1" "$off"; }
say() { printf '%s\n' "$1"; }
good() { printf '%s✓ %s%s\n' "$green" "$1" "$off"; }
# Prints a command and runs it.
step() { printf '%s$ %s%s\n' "$dim" "$*" "$off"; "$@"; }
fail() { echo "FAILED: $1" >&2; exit 1; }

pg() {
    command -v "$1" 2>/dev/null && return
    ls /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | sort -V | tail -n 1
}
# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}
spare_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
# A signed identity token, as a platform issues it to a workload.
identity_token() {
    local now header claims
    now=$(date +%s)
    header=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url)
    claims=$(printf '{"iss":"https://platform.example","aud":"strongroom","sub":"%s","iat":%d,"exp":%d}' "$1" "$now" $((now + 600)) | base64url)
    printf '%s.%s.%s' "$header" "$claims" "$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$work/identity.key" -binary | base64url)"
}
# PostgreSQL as its own superuser: what an operator would see on the database's side.
superuser() { PGPASSWORD= psql -X -q -At -h "$work/socket" -p "$pg_port" -U postgres -d shop -c "$1"; }
roles() { superuser "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'"; }
# Waits for a condition; the demo has no fixed pauses that its outcome depends on.
await() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.1
    done
}

chapter "0. A PostgreSQL and a Strongroom server, both on loopback"
mkdir "$work/pg" "$work/socket"
[ "$(id -u)" = 0 ] && chown postgres "$work/pg" "$work/socket"
pg_port=$(spare_port)
as_postgres "$(pg initdb)" -D "$work/pg" -U postgres --auth-local=trust --auth-host=scram-sha-256 --no-sync >/dev/null
as_postgres "$(pg pg_ctl)" -D "$work/pg" -w -l "$work/pg/log" \
    -o "-p $pg_port -k $work/socket -c listen_addresses=127.0.0.1 -c fsync=off" start >/dev/null
psql -X -q -h "$work/socket" -p "$pg_port" -U postgres -c "CREATE DATABASE shop" postgres
superuser "CREATE ROLE app_rw NOLOGIN" >/dev/null
superuser "CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL, by_user text DEFAULT current_user)" >/dev/null
superuser "GRANT SELECT, INSERT ON orders TO app_rw; GRANT USAGE ON SEQUENCE orders_id_seq TO app_rw" >/dev/null
admin_password=$(openssl rand -hex 12)
superuser "CREATE ROLE strongroom_admin LOGIN CREATEROLE PASSWORD '$admin_password'; GRANT app_rw TO strongroom_admin WITH ADMIN OPTION" >/dev/null
superuser "CREATE ROLE report_a LOGIN PASSWORD 'x'; CREATE ROLE report_b LOGIN PASSWORD 'x'; GRANT report_a, report_b TO strongroom_admin WITH ADMIN OPTION" >/dev/null
good "PostgreSQL listens on 127.0.0.1:$pg_port; strongroom_admin may create roles and is no superuser"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=127.0.0.1" \
    -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" -addext basicConstraints=critical,CA:FALSE -keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null
port=$(spare_port)
cat >"$work/strongroom.hcl" <<EOF
storage "embedded" { path = "$work/data" }
listener "tcp" {
  address       = "127.0.0.1:$port"
  tls_cert_file = "$work/tls.pem"
  tls_key_file  = "$work/tls.key"
}
EOF
export STRONGROOM_ADDR="https://127.0.0.1:$port" STRONGROOM_CACERT="$work/tls.pem" HOME="$work"
printf '%s$ strongroom server -config=strongroom.hcl &%s\n' "$dim" "$off"
"$PROGRAM" server -config="$work/strongroom.hcl" 2>"$work/server.log" &
server_pid=$!
export PATH="$(dirname "$PROGRAM"):$PATH"
answers() { curl -s --cacert "$work/tls.pem" "$STRONGROOM_ADDR/v1/sys/seal-status" >/dev/null; }
await "the server does not answer" 20 answers
printf '%s$ strongroom operator init -key-shares=3 -key-threshold=2%s\n' "$dim" "$off"
strongroom operator init -key-shares=3 -key-threshold=2 -format=json >"$work/init.json"
say "  three key shares were made for three people; any two open the server"
for share in 0 1; do
    printf '%s$ strongroom operator unseal%s   (key holder %d gives a share)\n' "$dim" "$off" $((share + 1))
    jq -r ".unseal_keys_b64[$share]" "$work/init.json" | strongroom operator unseal - >/dev/null
done
STRONGROOM_TOKEN=$(jq -r .root_token "$work/init.json")
export STRONGROOM_TOKEN
strongroom status | grep -E 'Sealed|Storage|Threshold'

chapter "1. An administrator sets up one application in one environment"
step strongroom audit enable file file_path="$work/audit.log"
step strongroom audit enable journal
step strongroom secrets enable database
step strongroom secrets enable -path=kv kv-v2
step strongroom auth enable jwt
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/identity.key" 2>/dev/null
openssl pkey -in "$work/identity.key" -pubout -out "$work/identity.pub"
step strongroom write auth/jwt/config jwt_validation_pubkeys=@"$work/identity.pub" bound_issuer=https://platform.example
cat >"$work/shop-prod.hcl" <<'EOF'
# The web shop in production: its own database users, its own API key, nothing else.
path "database/creds/shop" {
  capabilities = ["read"]
}
path "kv/data/prod/shop/*" {
  capabilities = ["read"]
}
path "database/static-creds/report" {
  capabilities = ["read"]
}
EOF
step strongroom policy write shop-prod "$work/shop-prod.hcl"
step strongroom write auth/jwt/role/shop role_type=jwt user_claim=sub bound_audiences=strongroom \
    bound_subject=system:prod:shop token_policies=shop-prod token_ttl=10m token_max_ttl=1h
printf '%s$ strongroom write database/config/shop … password=-%s   (the password comes from standard input)\n' "$dim" "$off"
printf '%s' "$admin_password" | strongroom write database/config/shop plugin_name=postgresql-database-plugin \
    connection_url="postgresql://{{username}}:{{password}}@127.0.0.1:$pg_port/shop?sslmode=disable" \
    username=strongroom_admin allowed_roles=shop,report password=-
step strongroom write -f database/rotate-root/shop
if PGPASSWORD=$admin_password psql -X -h 127.0.0.1 -p "$pg_port" -U strongroom_admin -d shop -c "SELECT 1" >/dev/null 2>&1; then
    fail "the password that was handed over still works"
fi
good "the password that was handed over no longer works: the server rotated it at once, and no person knows the new one"
step strongroom write database/roles/shop db_name=shop default_ttl=5m max_ttl=1h \
    creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app_rw;"

# From here on the root token is put away: the application has its identity token and nothing else.
admin() { STRONGROOM_TOKEN=$(jq -r .root_token "$work/init.json") "$@"; }
unset STRONGROOM_TOKEN
identity_token system:prod:shop >"$work/identity.jwt"
cat >"$work/strongroom.toml" <<EOF
[login]
method = "jwt"
role = "shop"
jwt_file = "$work/identity.jwt"

[env]
DATABASE_URL = "sr://database/creds/shop#connection_url"
API_KEY = "sr://kv/prod/shop/payment#api_key"
EOF
cat >"$work/shop.sh" <<'EOF'
#!/bin/sh
# The application: it knows nothing of Strongroom, only its environment.
psql -X -q -At "$DATABASE_URL" -c "INSERT INTO orders (item) VALUES ('teapot'); SELECT 'order ' || id || ' by ' || by_user FROM orders ORDER BY id DESC LIMIT 1"
echo "API key of ${#API_KEY} characters"
echo $$ >"$1"
if [ -n "$2" ]; then sleep 300; else psql -X -q -At "$DATABASE_URL" -c "SELECT pg_sleep(1)"; fi
EOF
chmod +x "$work/shop.sh"
printf '%s$ strongroom kv put -mount=kv prod/shop/payment api_key=-%s\n' "$dim" "$off"
openssl rand -hex 16 | tr -d '\n' | admin strongroom kv put -mount=kv prod/shop/payment api_key=- >/dev/null

chapter "2. The application runs with a database user made for it"
cd "$work"
printf '%s$ strongroom run -- ./shop.sh%s\n' "$dim" "$off"
strongroom run -- ./shop.sh "$work/app.pid" "" &
run_pid=$!
user_exists() { [ "$(roles)" = 1 ]; }
await "no database user was made" 20 user_exists
printf '%s(another terminal) $ psql -c "SELECT rolname, rolvaliduntil FROM pg_roles WHERE rolname LIKE '"'v-%%'"'"%s\n' "$dim" "$off"
superuser "SELECT rolname, rolvaliduntil FROM pg_roles WHERE rolname LIKE 'v-%'"

chapter "3. The application ends, and so does its user"
wait "$run_pid" || fail "the application failed"
run_pid=
[ "$(roles)" = 0 ] || fail "the user outlived strongroom run"
good "strongroom run has returned, and pg_roles has no such user any more"
say "Now the supervisor is killed with kill -9 while the application works:"
printf '%s$ strongroom run -- ./shop.sh & sleep …; kill -9 %%1%s\n' "$dim" "$off"
rm -f "$work/app.pid"
strongroom run -- ./shop.sh "$work/app.pid" stay &
run_pid=$!
app_runs() { [ -s "$work/app.pid" ] && [ "$(roles)" = 1 ]; }
await "the application did not start" 20 app_runs
app=$(cat "$work/app.pid")
killed=$(date +%s%N)
kill -9 "$run_pid"
wait "$run_pid" 2>/dev/null || true
run_pid=
app_gone() { ! kill -0 "$app" 2>/dev/null; }
await "the application lives on without its supervisor" 5 app_gone
good "the application died with its supervisor, after $((($(date +%s%N) - killed) / 1000000)) ms"
user_gone() { [ "$(roles)" = 0 ]; }
await "the database user lives on after the grace period" 30 user_gone
good "its database user was gone after $((($(date +%s%N) - killed) / 1000000)) ms (grace period: 5 s without a sign of life)"

chapter "4. What must live long is rotated by the server itself"
step admin strongroom write database/static-roles/report db_name=shop username=report_a paired_username=report_b rotation_period=5s
step admin strongroom write kv/rotation/prod/shop/payment field=api_key period=5s overlap=1m
read_report() { admin strongroom read -format=json database/static-creds/report | jq -r '.data | "\(.username) \(.password)"'; }
read_key() { admin strongroom kv get -mount=kv -field=api_key "$@" prod/shop/payment; }
read -r old_user old_password < <(read_report)
old_key=$(read_key)
rotated() { [ "$(read_report | cut -d' ' -f2)" != "$old_password" ] && [ "$(read_key)" != "$old_key" ]; }
await "nothing was rotated" 30 rotated
say "Both were rotated on schedule; nobody asked for it:"
admin strongroom read -format=json sys/rotation | jq -r '.data.rotations[] | "  \(.path)  last \(.last_rotation)  next \(.next_rotation)"'
PGPASSWORD=$old_password psql -X -q -At -h 127.0.0.1 -p "$pg_port" -U "$old_user" -d shop -c "SELECT 1" >/dev/null || fail "the previous database password stopped working"
good "a reader that still holds the previous database account logs in with it through the overlap"
previous=$(admin curl -s --cacert "$work/tls.pem" -H "X-Vault-Token: $(jq -r .root_token "$work/init.json")" \
    "$STRONGROOM_ADDR/v1/kv/data/prod/shop/payment?label=previous" | jq -r .data.data.api_key)
[ -n "$previous" ] && [ "$previous" != null ] || fail "the previous API key cannot be read"
good "a service that checks API keys still finds the previous one beside the current one"

chapter "5. Who did what?"
say "Who obtained which database user, when, and by which rule:"
step admin strongroom audit query -path=database/creds/shop
say "Who read the API key:"
step admin strongroom audit query -path=kv/data/prod/shop/payment -limit=5
printf '%s$ strongroom audit verify%s\n' "$dim" "$off"
admin strongroom audit verify
public_key=$(admin strongroom read -format=json sys/audit-journal/verify | jq -r .data.public_key)
directory=$(admin strongroom read -format=json sys/audit-journal/verify | jq -r .data.directory)
cp -r "$directory" "$work/copy"
segment=$(ls "$work"/copy/*.jsonl | grep -v heads | head -n 1)
say "Now one byte of a copy of the journal is flipped:"
python3 - "$segment" <<'EOF'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(600)
    byte = file.read(1)
    file.seek(600)
    file.write(bytes([byte[0] ^ 1]))
EOF
printf '%s$ strongroom audit verify -dir=copy -key=%s…%s\n' "$dim" "${public_key:0:16}" "$off"
if strongroom audit verify -dir="$work/copy" -key="$public_key"; then
    fail "the flipped byte was not found"
fi
good "the flipped byte was found"

chapter "Done"
say "The application never saw a password that outlived it. Try it yourself: strongroom server -dev"
