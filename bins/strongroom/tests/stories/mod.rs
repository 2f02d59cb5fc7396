//! The calls whose output is kept in `golden/`.

mod operation;

use crate::Story;

/// A call that reads nothing from standard input.
const fn call(name: &'static str, args: &'static str, replies: &'static [(&'static str, u16, &'static str)]) -> Story {
    Story { name, args, stdin: "", program: "strongroom", replies }
}

pub(crate) fn all() -> Vec<Story> {
    let mut stories = Vec::new();
    stories.extend(general());
    stories.extend(key_value());
    stories.extend(identity());
    stories.extend(administration());
    stories.extend(operation::all());
    stories
}

const CREDS: &str = r#"{"request_id":"r-1","lease_id":"database/creds/app/x1","renewable":true,"lease_duration":5400,
    "data":{"username":"v-app-1","password":"p<&>","connections":12345678901234567890123,"ttl":90,"tags":["a","b"],"note":null,
    "nested":{"b":1,"a":true}},"wrap_info":null,"warnings":["the role is old"],"auth":null,"mount_type":"database"}"#;
const DENIED: &str = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
const WRAPPED: &str = r#"{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":null,
    "wrap_info":{"token":"hvs.wrap","accessor":"acc","ttl":300,"creation_time":"2026-01-02T03:04:05.123456789Z","creation_path":"secret/app"},
    "warnings":null,"auth":null}"#;

fn general() -> Vec<Story> {
    vec![
        call("read-table", "read database/creds/app", &[("GET /v1/database/creds/app", 200, CREDS)]),
        call("read-json", "read -format=json database/creds/app", &[("GET /v1/database/creds/app", 200, CREDS)]),
        call("read-yaml", "read -format yaml database/creds/app", &[("GET /v1/database/creds/app", 200, CREDS)]),
        call("read-pretty", "read -format=pretty database/creds/app", &[("GET /v1/database/creds/app", 200, CREDS)]),
        call("read-field", "read -field=password database/creds/app", &[("GET /v1/database/creds/app", 200, CREDS)]),
        call(
            "read-field-lease",
            "read -field=lease_id database/creds/app",
            &[("GET /v1/database/creds/app", 200, CREDS)],
        ),
        call(
            "read-field-json",
            "read -field=tags -format=json database/creds/app",
            &[("GET /v1/database/creds/app", 200, CREDS)],
        ),
        call(
            "read-field-missing",
            "read -field=nope database/creds/app",
            &[("GET /v1/database/creds/app", 200, CREDS)],
        ),
        call("read-raw", "read -format=raw sys/health", &[("GET /v1/sys/health", 200, r#"{"initialized":true}"#)]),
        call("read-query", "read /secret/data/app/ version=2 'note=a b'", &[]),
        call("read-denied", "read secret/app", &[("GET /v1/secret/app", 403, DENIED)]),
        call("read-sealed", "read secret/app", &[("GET /v1/secret/app", 503, r#"{"errors":["Vault is sealed"]}"#)]),
        call("read-foreign", "read secret/app", &[("GET /v1/secret/app", 400, "<h1>Bad Request</h1>")]),
        call("read-bad-path", "read secret/../sys/raw", &[]),
        call("read-wrapped", "read -wrap-ttl=5m secret/app", &[("GET /v1/secret/app", 200, WRAPPED)]),
        call(
            "read-wrapped-field",
            "read -wrap-ttl=5m -field=wrapping_token secret/app",
            &[("GET /v1/secret/app", 200, WRAPPED)],
        ),
        Story {
            program: "vault",
            ..call("vault-read-denied", "read secret/app", &[("GET /v1/secret/app", 403, DENIED)])
        },
        Story { program: "vault", ..call("vault-version", "-version", &[]) },
        call("version", "version", &[]),
        call(
            "write",
            "write auth/approle/role/app token_ttl=20m tag=a tag=b",
            &[("PUT /v1/auth/approle/role/app", 204, "")],
        ),
        call("write-json", "write -format=json x/y a=b", &[("PUT /v1/x/y", 204, "")]),
        call("write-reply", "write x/y a=b", &[("PUT /v1/x/y", 200, CREDS)]),
        call("write-nothing", "write x/y", &[]),
        call("write-force", "write -f database/rotate-root/main", &[("PUT /v1/database/rotate-root/main", 204, "")]),
        Story { stdin: "secret\n", ..call("write-stdin", "write x/y password=-", &[("PUT /v1/x/y", 204, "")]) },
        Story { stdin: r#"{"n": 1}"#, ..call("write-stdin-json", "write x/y -", &[("PUT /v1/x/y", 204, "")]) },
        call("write-no-pair", "write x/y word", &[]),
        call("delete", "delete x/y", &[("DELETE /v1/x/y", 204, "")]),
        call("list", "list database/roles", &[("GET /v1/database/roles?list=true", 200, KEYS)]),
        call("list-json", "list -format=json database/roles", &[("GET /v1/database/roles?list=true", 200, KEYS)]),
        call("list-empty", "list database/roles", &[]),
        call("list-empty-json", "list -format=json database/roles", &[]),
        call("unknown-command", "raed x", &[]),
        call("unknown-flag", "read -formt=json x", &[]),
        call("bad-format", "read -format=xml x", &[]),
        call("curl-more", "-header=X-A=b patch -wrap-ttl=5m -output-curl-string 'x/y z' a=1", &[]),
        call("curl-query", "read -output-curl-string secret/data/a version=2", &[]),
        call("curl", "-namespace=team write -output-curl-string x/y 'a=it is'", &[]),
        call("policy-needed", "list -output-policy secret/metadata", &[]),
        call(
            "path-help",
            "path-help database",
            &[("GET /v1/database?help=1", 200, r###"{"help":"## DESCRIPTION\n\nUsers.\n","see_also":null}"###)],
        ),
        Story { stdin: "hvs.wrap\n", ..call("unwrap", "unwrap -", &[("PUT /v1/sys/wrapping/unwrap", 200, CREDS)]) },
    ]
}

const KEYS: &str =
    r#"{"request_id":"r-1","data":{"keys":["web","app/"]},"warnings":null,"auth":null,"wrap_info":null}"#;

const V2: &str = r#"{"request_id":"r-0","data":{"path":"team/secret/","type":"kv","options":{"version":"2"}}}"#;
const V1: &str = r#"{"request_id":"r-0","data":{"path":"old/","type":"kv","options":null}}"#;
const SECRET: &str = r#"{"request_id":"r-1","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"user":"app","password":"p"},
    "metadata":{"created_time":"2026-01-02T03:04:05.6Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}},
    "warnings":null,"auth":null,"wrap_info":null}"#;
const DELETED: &str = r#"{"request_id":"r-1","data":{"data":null,"metadata":{"created_time":"2026-01-02T03:04:05.6Z","custom_metadata":null,
    "deletion_time":"2026-01-03T00:00:00Z","destroyed":false,"version":3}}}"#;
const WRITTEN: &str = r#"{"request_id":"r-1","data":{"created_time":"2026-01-02T03:04:05.6Z","custom_metadata":{"owner":"a"},"deletion_time":"",
    "destroyed":false,"version":4}}"#;
const METADATA: &str = r#"{"request_id":"r-1","data":{"cas_required":false,"created_time":"2026-01-02T03:04:05.6Z","current_version":10,
    "custom_metadata":null,"delete_version_after":"0s","max_versions":0,"oldest_version":9,"updated_time":"2026-01-02T03:04:05.6Z",
    "versions":{"10":{"created_time":"2026-01-02T03:04:05.6Z","deletion_time":"","destroyed":false},
    "9":{"created_time":"2026-01-01T03:04:05.6Z","deletion_time":"2026-01-03T00:00:00Z","destroyed":true}}}}"#;
const MOUNT: &str = "GET /v1/sys/internal/ui/mounts/team/secret";

fn key_value() -> Vec<Story> {
    const AT: &str = "GET /v1/sys/internal/ui/mounts/team/secret/app/db";
    const DATA: &str = "GET /v1/team/secret/data/app/db";
    const OWN: &str = "GET /v1/team/secret/data/app/db?references=false";
    vec![
        call("kv-get", "kv get team/secret/app/db", &[(AT, 200, V2), (DATA, 200, SECRET)]),
        call("kv-get-mount", "kv get -mount=team/secret app/db", &[(MOUNT, 200, V2), (DATA, 200, SECRET)]),
        call("kv-get-json", "kv get -format=json -mount=team/secret app/db", &[(MOUNT, 200, V2), (DATA, 200, SECRET)]),
        call(
            "kv-get-wrapped-field",
            "kv get -wrap-ttl=5m -field=wrapping_token -mount team/secret app/db",
            &[(MOUNT, 200, V2), (DATA, 200, WRAPPED)],
        ),
        call(
            "kv-get-field",
            "kv get -field password -mount team/secret app/db",
            &[(MOUNT, 200, V2), (DATA, 200, SECRET)],
        ),
        call(
            "kv-get-all",
            "kv get -field=data -format=json -mount=team/secret app/db",
            &[(MOUNT, 200, V2), (DATA, 200, SECRET)],
        ),
        call(
            "kv-get-version",
            "kv get -version=2 -mount=team/secret app/db",
            &[(MOUNT, 200, V2), ("GET /v1/team/secret/data/app/db?version=2", 404, DELETED)],
        ),
        call("kv-get-missing", "kv get -mount=team/secret app/db", &[(MOUNT, 200, V2)]),
        call(
            "kv-get-v1",
            "kv get old/app",
            &[
                ("GET /v1/sys/internal/ui/mounts/old/app", 200, V1),
                ("GET /v1/old/app", 200, r#"{"request_id":"r","lease_duration":2764800,"data":{"a":"b"}}"#),
            ],
        ),
        call(
            "kv-get-no-preflight",
            "kv get secret/app",
            &[("GET /v1/sys/internal/ui/mounts/secret/app", 403, DENIED), ("GET /v1/secret/data/app", 200, SECRET)],
        ),
        call(
            "kv-put",
            "kv put -cas=3 -mount=team/secret app/db user=app password=p",
            &[(MOUNT, 200, V2), ("PUT /v1/team/secret/data/app/db", 200, WRITTEN)],
        ),
        call(
            "kv-put-v1",
            "kv put old/app a=b",
            &[("GET /v1/sys/internal/ui/mounts/old/app", 200, V1), ("PUT /v1/old/app", 204, "")],
        ),
        call(
            "kv-patch",
            "kv patch -mount=team/secret -remove-data=old app/db user=web",
            &[(MOUNT, 200, V2), ("PATCH /v1/team/secret/data/app/db", 200, WRITTEN)],
        ),
        call(
            "kv-patch-fallback",
            "kv patch -mount=team/secret -remove-data=password app/db user=web",
            &[
                (MOUNT, 200, V2),
                ("PATCH /v1/team/secret/data/app/db", 405, r#"{"errors":["unsupported operation"]}"#),
                (OWN, 200, SECRET),
                ("PUT /v1/team/secret/data/app/db", 200, WRITTEN),
            ],
        ),
        call(
            "kv-rollback",
            "kv rollback -version=2 -mount=team/secret app/db",
            &[
                (MOUNT, 200, V2),
                (OWN, 404, DELETED),
                ("GET /v1/team/secret/data/app/db?version=2&references=false", 200, SECRET),
                ("PUT /v1/team/secret/data/app/db", 200, WRITTEN),
            ],
        ),
        call(
            "kv-delete",
            "kv delete -mount=team/secret app/db",
            &[(MOUNT, 200, V2), ("DELETE /v1/team/secret/data/app/db", 204, "")],
        ),
        call(
            "kv-delete-versions",
            "kv delete -mount=team/secret -versions=1,2 app/db",
            &[(MOUNT, 200, V2), ("PUT /v1/team/secret/delete/app/db", 204, "")],
        ),
        call(
            "kv-undelete",
            "kv undelete -mount=team/secret -versions=2 app/db",
            &[(MOUNT, 200, V2), ("PUT /v1/team/secret/undelete/app/db", 204, "")],
        ),
        call("kv-destroy", "kv destroy -mount=team/secret -versions=x app/db", &[(MOUNT, 200, V2)]),
        call(
            "kv-list",
            "kv list -mount=team/secret",
            &[(MOUNT, 200, V2), ("GET /v1/team/secret/metadata?list=true", 200, KEYS)],
        ),
        call(
            "kv-scan",
            "kv scan -mount=team/secret",
            &[(MOUNT, 200, V2), ("GET /v1/team/secret/metadata?scan=true", 200, KEYS)],
        ),
        call(
            "kv-metadata-get",
            "kv metadata get -mount=team/secret app/db",
            &[(MOUNT, 200, V2), ("GET /v1/team/secret/metadata/app/db", 200, METADATA)],
        ),
        call(
            "kv-metadata-put",
            "kv metadata put -mount=team/secret -cas-required -max-versions=5 -custom-metadata=owner=a app/db",
            &[(MOUNT, 200, V2), ("PUT /v1/team/secret/metadata/app/db", 204, "")],
        ),
        call("kv-metadata-v1", "kv metadata get old/app", &[("GET /v1/sys/internal/ui/mounts/old/app", 200, V1)]),
        call("kv-enable-versioning", "kv enable-versioning kv/", &[("PUT /v1/sys/mounts/kv/tune", 204, "")]),
    ]
}

const LOGIN: &str = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,
    "auth":{"client_token":"hvs.new","accessor":"acc","policies":["app","default"],"token_policies":["app","default"],
    "metadata":{"role_name":"app"},"lease_duration":3600,"renewable":true,"entity_id":"e","token_type":"service","orphan":true}}"#;
const LOOKUP: &str = r#"{"request_id":"r","data":{"accessor":"acc","creation_time":1767322800,"creation_ttl":0,"display_name":"root",
    "entity_id":"","expire_time":null,"explicit_max_ttl":0,"id":"hvs.root","meta":null,"num_uses":0,"orphan":true,"path":"auth/token/root",
    "policies":["root"],"ttl":0,"type":"service"}}"#;

fn identity() -> Vec<Story> {
    vec![
        Story {
            stdin: "hvs.root\n",
            ..call("login-token", "login -", &[("GET /v1/auth/token/lookup-self", 200, LOOKUP)])
        },
        call(
            "login-approle",
            "login -no-store -method=approle -path=workers role_id=r secret_id=s",
            &[("PUT /v1/auth/workers/login", 200, LOGIN)],
        ),
        call(
            "login-token-only",
            "login -method=jwt -token-only role=app jwt=x",
            &[("PUT /v1/auth/jwt/login", 200, LOGIN)],
        ),
        call(
            "login-refused",
            "login -method=jwt role=app jwt=x",
            &[("PUT /v1/auth/jwt/login", 400, r#"{"errors":["error validating token"]}"#)],
        ),
        call("login-no-prompt", "login -non-interactive", &[]),
        call("token-lookup", "token lookup", &[("GET /v1/auth/token/lookup-self", 200, LOOKUP)]),
        call(
            "token-create",
            "token create -policy=app -ttl=1h -metadata=job=nightly -use-limit=3 -orphan",
            &[("PUT /v1/auth/token/create-orphan", 200, LOGIN)],
        ),
        call(
            "token-create-field",
            "token create -field=token -renewable=false",
            &[("PUT /v1/auth/token/create", 200, LOGIN)],
        ),
        call("token-create-bad-ttl", "token create -ttl=soon", &[]),
        call("token-renew", "token renew -increment=30m", &[("PUT /v1/auth/token/renew-self", 200, LOGIN)]),
        call("token-revoke", "token revoke -accessor acc", &[("PUT /v1/auth/token/revoke-accessor", 204, "")]),
        call("token-revoke-nothing", "token revoke", &[]),
        call(
            "token-capabilities",
            "token capabilities secret/data/app",
            &[(
                "PUT /v1/sys/capabilities-self",
                200,
                r#"{"request_id":"r","data":{"secret/data/app":["read","list"],"capabilities":["read","list"]}}"#,
            )],
        ),
        call("print-token", "print token", &[]),
    ]
}

const MOUNTS: &str = r#"{"request_id":"r","data":{
    "sys/":{"type":"system","accessor":"system_0a","description":"system endpoints","config":{"default_lease_ttl":0,"max_lease_ttl":0},"options":null},
    "database/":{"type":"database","accessor":"database_1b","description":"","local":false,"seal_wrap":false,"uuid":"u-1",
        "config":{"default_lease_ttl":3600,"max_lease_ttl":0},"options":{"a":"b"},"plugin_version":"","running_plugin_version":"v1.16.3"}},
    "sys/":{"type":"system"}}"#;
const RECORDS: &str = r#"{"request_id":"r","data":{"indexed":9,"records":[
    {"seq":9,"entry":{"time":"2026-01-02T03:04:05.1Z","type":"response","auth":{"display_name":"jwt-app","policy_results":
        {"allowed":true,"granting_policies":[{"name":"app","type":"acl","rule":"database/creds/app","line":3}]}},
        "request":{"operation":"read","path":"database/creds/app","remote_address":"10.0.0.7"},
        "response":{"secret":{"lease_id":"database/creds/app/x1"},"data":{"username":"v-app-1","password":"hmac-sha256:00"}}}},
    {"seq":7,"entry":{"time":"2026-01-02T03:04:04Z","type":"response","error":"1 error occurred:\n\t* permission denied\n\n",
        "auth":{"display_name":"jwt-web"},"request":{"operation":"read","path":"database/creds/app"}}}]}}"#;
const ROTATIONS: &str = r#"{"request_id":"r","data":{"more":false,"after":null,"rotations":[
    {"path":"database/static-roles/reporting","mount_type":"database","period":86400,"schedule":null,"next_rotation":"2026-01-03T00:00:00Z",
     "last_rotation":"2026-01-02T00:00:00Z","last_error":null,"failures":0,"history":[{"at":"2026-01-02T00:00:00Z","error":null}]},
    {"path":"database/root/shop","mount_type":"database","period":null,"schedule":null,"next_rotation":null,
     "last_rotation":"2026-01-02T00:00:00Z","last_error":null,"failures":0,"history":[{"at":"2026-01-02T00:00:00Z","error":null}]},
    {"path":"secret/app/api-key","mount_type":"kv","period":null,"schedule":"0 3 * * *","next_rotation":null,"last_rotation":null,
     "last_error":"hook answered 500","failures":2,"history":[]}]}}"#;

fn administration() -> Vec<Story> {
    vec![
        call("policy-list", "policy list", &[("GET /v1/sys/policies/acl?list=true", 200, KEYS)]),
        call(
            "policy-read",
            "policy read App",
            &[(
                "GET /v1/sys/policies/acl/app",
                200,
                r#"{"request_id":"r","data":{"name":"app","policy":"path \"a\" {}\n"}}"#,
            )],
        ),
        call("policy-read-missing", "policy read app", &[]),
        Story {
            stdin: "path \"a\" {}",
            ..call("policy-write", "policy write app -", &[("PUT /v1/sys/policies/acl/app", 204, "")])
        },
        call("policy-delete", "policy delete app", &[("DELETE /v1/sys/policies/acl/app", 204, "")]),
        Story { stdin: "path \"a\" {\ncapabilities=[\"read\"]\n}\n", ..call("policy-fmt", "policy fmt -", &[]) },
        Story { stdin: "path \"a\" {\n", ..call("policy-fmt-wrong", "policy fmt -", &[]) },
        call("secrets-list", "secrets list", &[("GET /v1/sys/mounts", 200, MOUNTS)]),
        call("secrets-list-detailed", "secrets list -detailed", &[("GET /v1/sys/mounts", 200, MOUNTS)]),
        call("secrets-list-json", "secrets list -format=json", &[("GET /v1/sys/mounts", 200, MOUNTS)]),
        call(
            "secrets-enable",
            "secrets enable -path=team/secret -version=2 -max-lease-ttl=8h -description='for the team' kv",
            &[("PUT /v1/sys/mounts/team/secret", 204, "")],
        ),
        call(
            "secrets-enable-taken",
            "secrets enable kv",
            &[("PUT /v1/sys/mounts/kv", 400, r#"{"errors":["path is already in use at kv/"]}"#)],
        ),
        call("secrets-disable", "secrets disable kv/", &[("DELETE /v1/sys/mounts/kv", 204, "")]),
        call(
            "secrets-tune",
            "secrets tune -default-lease-ttl=1h database",
            &[("PUT /v1/sys/mounts/database/tune", 204, "")],
        ),
        call("secrets-tune-nothing", "secrets tune database", &[]),
        call(
            "secrets-move",
            "secrets move a b",
            &[
                ("PUT /v1/sys/remount", 200, r#"{"request_id":"r","data":{"migration_id":"m-1"}}"#),
                (
                    "GET /v1/sys/remount/status/m-1",
                    200,
                    r#"{"request_id":"r","data":{"migration_info":{"status":"success"}}}"#,
                ),
            ],
        ),
        call(
            "auth-move",
            "auth move jwt auth/workloads/",
            &[
                ("PUT /v1/sys/remount", 200, r#"{"request_id":"r","data":{"migration_id":"m-1"}}"#),
                (
                    "GET /v1/sys/remount/status/m-1",
                    200,
                    r#"{"request_id":"r","data":{"migration_info":{"status":"success"}}}"#,
                ),
            ],
        ),
        call("auth-list", "auth list", &[("GET /v1/sys/auth", 200, MOUNTS)]),
        call("auth-enable", "auth enable -token-type=batch jwt", &[("PUT /v1/sys/auth/jwt", 204, "")]),
        call("auth-disable", "auth disable jwt", &[("DELETE /v1/sys/auth/jwt", 204, "")]),
        call("auth-tune", "auth tune -token-type=batch jwt", &[("PUT /v1/sys/auth/jwt/tune", 204, "")]),
        call(
            "lease-lookup",
            "lease lookup database/creds/app/x1",
            &[(
                "PUT /v1/sys/leases/lookup",
                200,
                r#"{"request_id":"r","data":{"id":"database/creds/app/x1","renewable":true,"ttl":3599}}"#,
            )],
        ),
        call(
            "lease-renew",
            "lease renew -increment=30m database/creds/app/x1",
            &[("PUT /v1/sys/leases/renew", 200, CREDS)],
        ),
        call("lease-revoke", "lease revoke database/creds/app/x1", &[("PUT /v1/sys/leases/revoke", 202, "")]),
        call(
            "lease-revoke-prefix",
            "lease revoke -sync -prefix database/creds/app/",
            &[("PUT /v1/sys/leases/revoke-prefix/database/creds/app", 204, "")],
        ),
        call(
            "lease-revoke-force",
            "lease revoke -force -prefix database",
            &[("PUT /v1/sys/leases/revoke-force/database", 204, "")],
        ),
        call(
            "audit-enable",
            "audit enable -path=log file file_path=/var/log/audit.log",
            &[("PUT /v1/sys/audit/log", 204, "")],
        ),
        call(
            "audit-list",
            "audit list -detailed",
            &[(
                "GET /v1/sys/audit",
                200,
                r#"{"request_id":"r","data":{"file/":{"type":"file","description":"","options":{"file_path":"/a"},"local":false}}}"#,
            )],
        ),
        call("audit-list-none", "audit list", &[("GET /v1/sys/audit", 200, r#"{"request_id":"r","data":{}}"#)]),
        call(
            "audit-query",
            "audit query -path=database/creds/app -since=2026-01-01T00:00:00Z -limit=2",
            &[(
                "GET /v1/sys/audit-journal/query?limit=2&path=database%2Fcreds%2Fapp&since=2026-01-01T00%3A00%3A00Z&kind=response",
                200,
                RECORDS,
            )],
        ),
        call("audit-query-bad-time", "audit query -since=yesterday", &[]),
        call(
            "audit-verify",
            "audit verify",
            &[(
                "GET /v1/sys/audit-journal/verify",
                200,
                r#"{"request_id":"r","data":{"journal":"journal/","sound":true,"records":9,"heads":1,"faults":[]}}"#,
            )],
        ),
        call(
            "audit-verify-broken",
            "audit verify",
            &[(
                "GET /v1/sys/audit-journal/verify",
                200,
                r#"{"request_id":"r","data":{"sound":false,"faults":["a.jsonl:3: the hash is wrong"]}}"#,
            )],
        ),
        call("audit-verify-nowhere", "audit verify -dir=nowhere -key=00", &[]),
        call("rotation-list", "rotation list", &[("GET /v1/sys/rotation", 200, ROTATIONS)]),
        call(
            "rotation-read",
            "rotation read database/static-roles/reporting",
            &[("GET /v1/sys/rotation", 200, ROTATIONS)],
        ),
    ]
}
