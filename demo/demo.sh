#!/usr/bin/env bash
# The main job of Strongroom, told on a terminal: an application gets a database user that lives exactly as long as it
# does. Everything is real: the server (TLS, embedded store, key shares), PostgreSQL, and every command: what is printed
# behind a prompt is what is run. The prompt says who types it.
set -euo pipefail
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(dirname "$demo")/target/release

# --- the stage -------------------------------------------------------------------------------------------------------

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold='' dim='' green='' off=''; fi
chapter() { printf '\n%s%s%s\n' "$bold" "== $1 ==" "$off"; }
say() { printf '\n%s\n' "$1"; }
good() { printf '%s✓ %s%s\n' "$green" "$1" "$off"; }
fail() { printf '\nFAILED: %s\n' "$1" >&2; exit 1; }
show() { printf '%s%s$%s %s%s%s\n' "$dim" "$1" "$off" "$bold" "$2" "$off"; }
# Shows a command and runs it as who types it: in the folder and with the environment of that person.
as() {
    show "$1" "$2"
    (enter "$1" && eval "$2") || fail "this command did not succeed"
}
# The same of a command that must be refused.
refused() {
    show "$1" "$2"
    if (enter "$1" && eval "$2") 2>&1; then fail "this command should have been refused"; fi
}
# The same of a program that goes on; its process is $running.
start() {
    show "$1" "$2 &"
    (enter "$1" && eval "exec $2") &
    running=$!
    # The shell is not to tell how it ended.
    disown
}
# Waits for a condition, for so many seconds at most.
await() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what within $2 seconds"
        sleep 0.05
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
ms() { echo $(($(date +%s%N) / 1000000)); }

for needed in curl jq openssl psql python3; do
    command -v "$needed" >/dev/null || fail "$needed is missing: ./scripts/ensure-tools.sh installs or names what is needed"
done
[ -x "$bin/strongroom" ] || fail "$bin/strongroom is missing: run make demo, which builds it"
pg_bin=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)")
[ -x "$pg_bin/initdb" ] || fail "PostgreSQL's server is missing: ./scripts/ensure-tools.sh installs or names what is needed"

work=$(mktemp -d "${TMPDIR:-/tmp}/strongroom-demo.XXXXXX")
chmod 711 "$work"
running='' server=''
finish() {
    status=$?
    trap '' INT TERM HUP
    [ -z "$running" ] || kill -9 "$running" 2>/dev/null || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ ! -f "$work/dba/pg/postmaster.pid" ] || pg_ctl -D "$work/dba/pg" -m immediate stop >/dev/null 2>&1 || true
    if [ "$status" -ne 0 ] && [ "$status" -ne 130 ] && [ -s "$work/server/log" ]; then
        printf '\nThe demo stopped with status %s. The log of the server ended with:\n' "$status" >&2
        tail -n 15 "$work/server/log" >&2
    fi
    [ -z "$server" ] || await "the server did not end" 10 gone "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'printf "\ninterrupted; everything is being cleaned up\n" >&2; exit 130' INT TERM HUP

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}
initdb() { as_postgres "$pg_bin/initdb" "$@" >/dev/null; }
pg_ctl() { as_postgres "$pg_bin/pg_ctl" "$@" >/dev/null; }
psql() { command psql -X -q -P footer=off "$@"; }
spare_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

mkdir "$work"/{admin,app,dba,operator,platform,server}
[ "$(id -u)" != 0 ] || chown postgres "$work/dba"
cp "$demo/shop-prod.hcl" "$work/admin/"
cp "$demo"/{strongroom.toml,shop.sh} "$work/app/"
db_port=$(spare_port)
api_port=$(spare_port)
export PATH="$bin:$demo:$PATH" STRONGROOM_ADDR="https://127.0.0.1:$api_port" STRONGROOM_CACERT="$work/server/tls.pem"
unset STRONGROOM_TOKEN VAULT_TOKEN VAULT_ADDR STRONGROOM_NAMESPACE VAULT_NAMESPACE STRONGROOM_FORMAT VAULT_FORMAT
# Goes where a person is. The database's administrator comes in by a socket that nobody else reaches.
enter() {
    cd "$work/$1"
    export HOME="$work/$1"
    if [ "$1" = dba ]; then export PGHOST="$work/dba" PGPORT="$db_port" PGUSER=postgres PGDATABASE=shop; fi
}
users_of_shop() { (enter dba && psql -At -c "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'"); }

# --- the story -------------------------------------------------------------------------------------------------------

chapter "0. A PostgreSQL and a Strongroom server, both on loopback"
say "A database of a web shop. Its rights belong to the group app_rw; nobody can log in as that."
as dba "initdb -D pg -U postgres --auth-local=trust --auth-host=scram-sha-256 --no-sync"
as dba "pg_ctl -D pg -l pg/log -w start -o '-p $db_port -k $work/dba \\
    -c listen_addresses=127.0.0.1 -c fsync=off'"
as dba 'psql -d postgres -c "CREATE DATABASE shop"'
as dba 'psql -c "CREATE TABLE orders (
    id serial PRIMARY KEY, item text, by_user text DEFAULT current_user)"'
as dba 'psql -c "CREATE ROLE app_rw; GRANT SELECT, INSERT ON orders TO app_rw;
    GRANT USAGE ON orders_id_seq TO app_rw"'
say "Strongroom gets an account that may make users. It is no superuser."
as dba 'printf %s "$(openssl rand -hex 12)" > password'
as dba 'psql <<< "CREATE ROLE strongroom_admin LOGIN CREATEROLE PASSWORD '"'\$(cat password)'"'"'
as dba 'psql -c "GRANT app_rw TO strongroom_admin WITH ADMIN OPTION"'
as dba 'psql -c "CREATE ROLE report_a LOGIN; CREATE ROLE report_b LOGIN;
    GRANT report_a, report_b TO strongroom_admin WITH ADMIN OPTION"'
chmod 644 "$work/dba/password"

say "The server listens with TLS and keeps everything encrypted in one file."
as server 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout tls.key -out tls.pem 2>/dev/null'
cat >"$work/server/strongroom.hcl" <<END
storage "embedded" {
  path = "data"
}
listener "tcp" {
  address       = "127.0.0.1:$api_port"
  tls_cert_file = "tls.pem"
  tls_key_file  = "tls.key"
}
END
as server "cat strongroom.hcl"
start server "strongroom server -config=strongroom.hcl 2> log"
server=$running running=''
answers() { curl -s --cacert "$STRONGROOM_CACERT" "$STRONGROOM_ADDR/v1/sys/seal-status" >/dev/null; }
await "the server did not answer" 20 answers
say "Its key is split among three people; any two of them open it. None of them can do it alone."
as operator "strongroom operator init -key-shares=3 -key-threshold=2 -format=json > init.json"
as operator "jq -r '.unseal_keys_b64[0]' init.json | strongroom operator unseal - | grep Sealed"
as operator "jq -r '.unseal_keys_b64[1]' init.json | strongroom operator unseal - | grep Sealed"

chapter "1. An administrator sets up one application in one environment"
as admin "jq -r .root_token ../operator/init.json | strongroom login -no-print -"
say "First the audit log: from here on nothing is answered that was not written down."
as admin "strongroom audit enable journal"
as admin "strongroom audit enable file file_path=$work/server/audit.log"
say "Secrets, database users, and a login for workloads that show a signed identity token."
as admin "strongroom secrets enable -path=kv kv-v2"
as admin "strongroom secrets enable database"
as admin "strongroom auth enable jwt"
as platform "openssl genpkey -algorithm RSA -out identity.key 2>/dev/null"
as platform "openssl pkey -in identity.key -pubout -out identity.pub"
as admin "strongroom write auth/jwt/config bound_issuer=https://platform.example \\
    jwt_validation_pubkeys=@../platform/identity.pub"
say "What the shop may do in production, and which workload is the shop:"
as admin "cat shop-prod.hcl"
as admin "strongroom policy write shop-prod shop-prod.hcl"
as admin "strongroom write auth/jwt/role/shop role_type=jwt user_claim=sub bound_audiences=strongroom \\
    bound_subject=system:prod:shop token_policies=shop-prod token_ttl=10m token_max_ttl=1h"
say "The account of the database is handed over. The server changes its password at once:"
as admin "strongroom write database/config/shop plugin_name=postgresql-database-plugin \\
    connection_url='postgresql://{{username}}:{{password}}@127.0.0.1:$db_port/shop?sslmode=disable' \\
    username=strongroom_admin password=@../dba/password allowed_roles=shop,report"
as admin "strongroom write -f database/rotate-root/shop"
refused dba 'PGPASSWORD=$(cat password) psql -h 127.0.0.1 -U strongroom_admin -c "SELECT 1"'
good "the password that was handed over no longer works; no person knows the new one"
say "How a user of the shop is made, and an API key that the shop needs:"
cat >"$work/admin/shop.sql" <<'END'
CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app_rw
END
as admin "cat shop.sql"
as admin "strongroom write database/roles/shop db_name=shop default_ttl=5m max_ttl=1h \\
    creation_statements=@shop.sql"
as admin "openssl rand -hex 16 | tr -d '\\n' > api-key"
as admin "strongroom kv put -mount=kv prod/shop/payment api_key=- < api-key"

chapter "2. The application runs with a database user made for it"
say "On its machine lie an identity token from the platform and a list of what the shop wants."
as platform "identity-token.sh system:prod:shop identity.key > ../app/identity.jwt"
as app "cat strongroom.toml"
start app "strongroom run -- ./shop.sh"
open() { [ -s "$work/app/shop.pid" ]; }
await "the shop did not open" 20 open
say "In another terminal, the database's administrator looks who is there:"
as dba "psql -c \"SELECT rolname, rolvaliduntil FROM pg_roles WHERE rolname LIKE 'v-%'\""
[ "$(users_of_shop)" = 1 ] || fail "there should be exactly one user"

chapter "3. The application ends, and so does its user"
as app "touch closing-time"
await "strongroom run did not end" 20 gone "$running"
running=''
as dba "psql -c \"SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'\""
[ "$(users_of_shop)" = 0 ] || fail "the user outlived strongroom run"
good "the user was gone before strongroom run returned"

say "Now the supervisor is killed while the shop is open. It has no time to clean up:"
as app "rm closing-time shop.pid"
start app "strongroom run -- ./shop.sh"
await "the shop did not open" 20 open
shop=$(cat "$work/app/shop.pid") killed=$(ms)
as app "kill -9 $running"
await "the shop lived on without its supervisor" 5 gone "$shop"
good "the shop died with its supervisor, within $(($(ms) - killed)) ms"
running=''
nobody() { [ "$(users_of_shop)" = 0 ]; }
await "the user lived on after the grace period" 30 nobody
good "its database user was gone within $(($(ms) - killed)) ms; the grace period is 5000 ms"

chapter "4. What must live long is rotated by the server itself"
say "A pair of accounts for a report that takes turns, and the API key in the key-value store:"
as admin "strongroom write database/static-roles/report db_name=shop rotation_period=10s \\
    username=report_a paired_username=report_b"
as admin "strongroom write kv/rotation/prod/shop/payment field=api_key period=10s overlap=9s"
say "A reader takes what is valid now. Then the schedule comes round:"
as admin "strongroom read -format=json database/static-creds/report > report.json"
rotated() (
    enter admin
    was=$(jq -r .data.password report.json)
    [ "$(strongroom read -field=password database/static-creds/report)" != "$was" ] &&
        [ "$(strongroom kv metadata get -mount=kv -field=current_version prod/shop/payment)" -gt 1 ]
)
await "nothing was rotated" 40 rotated
as admin "strongroom rotation list"
say "Both have new values. Who holds the values of before still works, through the overlap:"
as admin 'PGPASSWORD=$(jq -r .data.password report.json) psql -h 127.0.0.1 -p '"$db_port"' -d shop \
    -U $(jq -r .data.username report.json) -c "SELECT current_user"'
as admin "strongroom read -format=json kv/data/prod/shop/payment label=previous > previous.json"
as admin "jq -j .data.data.api_key previous.json | cmp - api-key && echo 'the same as before'"
good "the report still logs in, and whoever checks API keys still finds the previous one"

chapter "5. Who did what?"
say "Who obtained which database user, when, and by which rule of which policy?"
as admin "strongroom audit query -path=database/creds/shop"
say "Who read the API key? (The administrator did, too.)"
as admin "strongroom audit query -path=kv/data/prod/shop/payment"
say "Is the journal as it was written?"
as admin "strongroom audit verify"
say "And if somebody changes one byte of it?"
as admin "cp -r ../server/data/audit/journal copy && strongroom audit verify -field=public_key > key"
as admin "printf '#' | dd of=copy/journal-00000000000000000001.jsonl bs=1 seek=600 conv=notrunc \\
    status=none"
refused admin 'strongroom audit verify -dir=copy -key="$(cat key)"'
good "the change was found"

chapter "Done, after $SECONDS seconds"
say "The shop never saw a password that outlived it, and no person ever knew one.
Try it yourself: target/release/strongroom server -dev, and docs/src/getting-started.md"
