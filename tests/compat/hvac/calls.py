"""Every call of hvac, the Python client of the Vault API, for what a server of this kind serves.

The environment says where the server is (not initialised yet) and where PostgreSQL is. Each call prints a line: PASS or
FAIL, its area, its name, and what went wrong. The program itself ends well whatever the calls do.
"""

import os

import hvac

ADDRESS, AUTHORITY = os.environ["COMPAT_ADDR"], os.environ["COMPAT_CA"]
FOLDER = os.environ["COMPAT_FOLDER"]


def connect(token=None):
    return hvac.Client(url=ADDRESS, token=token, verify=AUTHORITY)


def call(area, name, act, /, *arguments, expect=None, **named):
    """Makes a call; `expect` looks at what came back and says whether it is right."""
    try:
        result = act(*arguments, **named)
        if expect is not None and not expect(result):
            raise AssertionError(f"an unexpected reply: {result!r}")
        print(f"PASS {area} | {name}", flush=True)
        return result
    except Exception as error:  # noqa: BLE001: whatever it is, it is the finding
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {area} | {name} | {text[:300]}", flush=True)
        return None


def data(reply):
    return (reply or {}).get("data") or {}


def opening():
    client, area = connect(), "sys: seal"
    call(area, "read_init_status", client.sys.read_init_status, expect=lambda r: r["initialized"] is False)
    call(area, "is_initialized", client.sys.is_initialized, expect=lambda r: r is False)
    made = call(area, "initialize", client.sys.initialize, secret_shares=3, secret_threshold=2)
    keys, root = made["keys"], made["root_token"]
    call(area, "is_sealed", client.sys.is_sealed, expect=lambda r: r is True)
    call(area, "submit_unseal_key", client.sys.submit_unseal_key, keys[0], expect=lambda r: r["progress"] == 1)
    call(area, "submit_unseal_keys", client.sys.submit_unseal_keys, keys[1:2], expect=lambda r: r["sealed"] is False)
    call(area, "read_seal_status", client.sys.read_seal_status, expect=lambda r: r["t"] == 2)
    call(area, "read_health_status", client.sys.read_health_status, method="GET", expect=lambda r: r["sealed"] is False)
    call(area, "read_leader_status", client.sys.read_leader_status, expect=lambda r: "is_self" in r)
    client = connect(root)
    call(area, "is_authenticated", client.is_authenticated, expect=lambda r: r is True)
    call(area, "get_encryption_key_status", client.sys.get_encryption_key_status, expect=lambda r: data(r)["term"] == 1)
    call(area, "rotate_encryption_key", client.sys.rotate_encryption_key)
    call(area, "read_root_generation_progress", client.sys.read_root_generation_progress, expect=lambda r: not r["started"])
    begun = call(area, "start_root_token_generation", client.sys.start_root_token_generation)
    call(area, "cancel_root_generation", client.sys.cancel_root_generation)
    begun = client.sys.start_root_token_generation()
    call(area, "generate_root", client.sys.generate_root, keys[0], begun["nonce"], expect=lambda r: r["progress"] == 1)
    client.sys.cancel_root_generation()
    call(area, "read_rekey_progress", client.sys.read_rekey_progress, expect=lambda r: r["started"] is False)
    call(area, "start_rekey", client.sys.start_rekey, secret_shares=1, secret_threshold=1)
    call(area, "cancel_rekey", client.sys.cancel_rekey)
    begun = client.sys.start_rekey(secret_shares=1, secret_threshold=1, require_verification=True)
    call(area, "rekey", client.sys.rekey, keys[0], begun["nonce"], expect=lambda r: r["progress"] == 1)
    done = call(area, "rekey_multi", client.sys.rekey_multi, keys[1:2], begun["nonce"], expect=lambda r: r["complete"])
    new = (done or {}).get("keys") or keys
    verify = call(area, "read_rekey_verify_progress", client.sys.read_rekey_verify_progress) or {}
    call(area, "rekey_verify", client.sys.rekey_verify, new[0], verify.get("nonce"), expect=lambda r: r["complete"])
    call(area, "step_down", client.sys.step_down)
    call(area, "seal", client.sys.seal)
    unseal(new + keys)
    return connect(root)


def unseal(keys):
    """Gives keys until the server is open. A seal ends the connections that were open: a fresh one for each request."""
    for _ in range(50):
        try:
            for key in keys:
                connect().sys.submit_unseal_key(key)
                if not connect().sys.is_sealed():
                    return
        except OSError:
            continue
    raise AssertionError("the server does not open")


def mounts(client):
    area, sys = "sys: mounts", client.sys
    call(area, "enable_secrets_engine", sys.enable_secrets_engine, "kv", path="two", options={"version": "2"})
    call(area, "list_mounted_secrets_engines", sys.list_mounted_secrets_engines, expect=lambda r: "two/" in data(r))
    call(area, "retrieve_mount_option", sys.retrieve_mount_option, "two", "version", expect=lambda r: r == "2")
    call(area, "tune_mount_configuration", sys.tune_mount_configuration, "two", max_lease_ttl="48h", description="x")
    call(area, "read_mount_configuration", sys.read_mount_configuration, "two", expect=lambda r: data(r)["max_lease_ttl"] == 172800)
    sys.enable_secrets_engine("kv", path="going", options={"version": "2"})
    call(area, "move_backend", sys.move_backend, "going", "gone")
    call(area, "disable_secrets_engine", sys.disable_secrets_engine, "gone")
    call(area, "enable_auth_method", sys.enable_auth_method, "approle")
    call(area, "list_auth_methods", sys.list_auth_methods, expect=lambda r: "approle/" in data(r))
    call(area, "tune_auth_method", sys.tune_auth_method, "approle", default_lease_ttl="1h")
    call(area, "read_auth_method_tuning", sys.read_auth_method_tuning, "approle", expect=lambda r: data(r)["default_lease_ttl"] == 3600)
    sys.enable_auth_method("approle", path="going")
    call(area, "disable_auth_method", sys.disable_auth_method, "going")


def policies(client):
    area, sys = "sys: policies", client.sys
    text = 'path "two/*" { capabilities = ["read"] }'
    call(area, "create_or_update_policy", sys.create_or_update_policy, "old", text)
    call(area, "read_policy", sys.read_policy, "old", expect=lambda r: "two" in r["rules"])
    call(area, "list_policies", sys.list_policies, expect=lambda r: "old" in r["policies"])
    call(area, "delete_policy", sys.delete_policy, "old")
    call(area, "create_or_update_acl_policy", sys.create_or_update_acl_policy, "reader", text)
    call(area, "read_acl_policy", sys.read_acl_policy, "reader", expect=lambda r: "two" in data(r)["policy"])
    call(area, "list_acl_policies", sys.list_acl_policies, expect=lambda r: "reader" in data(r)["keys"])
    call(area, "get_policy", client.get_policy, "reader", expect=lambda r: "two" in r)
    call(area, "get_capabilities", sys.get_capabilities, ["two/data/a"], expect=lambda r: r["two/data/a"] == ["root"])
    sys.create_or_update_acl_policy("gone", text)
    call(area, "delete_acl_policy", sys.delete_acl_policy, "gone")


def operation(client):
    area, sys = "sys: audit", client.sys
    options = {"file_path": os.path.join(FOLDER, "compat-audit.log")}
    call(area, "enable_audit_device", sys.enable_audit_device, "file", options=options)
    call(area, "list_enabled_audit_devices", sys.list_enabled_audit_devices, expect=lambda r: "file/" in data(r))
    call(area, "calculate_hash", sys.calculate_hash, "file", "x", expect=lambda r: data(r)["hash"].startswith("hmac-"))
    call(area, "disable_audit_device", sys.disable_audit_device, "file")
    area = "sys: wrapping"
    wrapped = call(area, "wrap", sys.wrap, {"a": "b"}, ttl=60)
    token = ((wrapped or {}).get("wrap_info") or {}).get("token")
    call(area, "unwrap", connect(token).sys.unwrap, expect=lambda r: data(r) == {"a": "b"})
    area = "sys: quotas"
    call(area, "create_or_update_quota", sys.create_or_update_quota, "slow", 100.0, interval="1m")
    call(area, "read_quota", sys.read_quota, "slow", expect=lambda r: data(r)["rate"] == 100)
    call(area, "list_quotas", sys.list_quotas, expect=lambda r: "slow" in data(r)["keys"])
    call(area, "delete_quota", sys.delete_quota, "slow")
    area = "sys: namespaces"
    call(area, "create_namespace", sys.create_namespace, "team")
    call(area, "list_namespaces", sys.list_namespaces, expect=lambda r: "team/" in data(r)["keys"])
    call(area, "delete_namespace", sys.delete_namespace, "team")


def tokens(client):
    area, token = "auth: token", client.auth.token
    made = call(area, "create", token.create, policies=["reader"], ttl="1h", meta={"a": "b"}, expect=lambda r: r["auth"]["lease_duration"] == 3600)
    auth = (made or {}).get("auth") or {}
    text, accessor = auth.get("client_token"), auth.get("accessor")
    call(area, "create_orphan", token.create_orphan, policies=["reader"], expect=lambda r: r["auth"]["orphan"])
    call(area, "lookup", token.lookup, text, expect=lambda r: data(r)["meta"] == {"a": "b"})
    call(area, "lookup_self", token.lookup_self, expect=lambda r: data(r)["policies"] == ["root"])
    call(area, "lookup_accessor", token.lookup_accessor, accessor, expect=lambda r: data(r)["accessor"] == accessor)
    call(area, "list_accessors", token.list_accessors, expect=lambda r: accessor in data(r)["keys"])
    call(area, "renew", token.renew, text, increment="2h", expect=lambda r: r["auth"]["lease_duration"] == 7200)
    call(area, "renew_accessor", token.renew_accessor, accessor)
    call(area, "renew_self", connect(text).auth.token.renew_self)
    call(area, "lookup_token", client.lookup_token, text)
    call(area, "renew_token", client.renew_token, text)
    call(area, "create_or_update_role", token.create_or_update_role, "builder", allowed_policies="reader", orphan=True)
    call(area, "read_role", token.read_role, "builder", expect=lambda r: data(r)["orphan"] is True)
    call(area, "list_roles", token.list_roles, expect=lambda r: data(r)["keys"] == ["builder"])
    call(area, "create with a role", token.create, role_name="builder", policies=["reader"])
    call(area, "delete_role", token.delete_role, "builder")
    call(area, "revoke", token.revoke, text)
    other = token.create(policies=["reader"])["auth"]
    call(area, "revoke_accessor", token.revoke_accessor, other["accessor"])
    other = token.create(policies=["reader"])["auth"]
    call(area, "revoke_and_orphan_children", token.revoke_and_orphan_children, other["client_token"])
    other = token.create(policies=["reader"])["auth"]
    call(area, "revoke_self", connect(other["client_token"]).auth.token.revoke_self)
    other = token.create(policies=["reader"])["auth"]
    call(area, "revoke_token", client.revoke_token, other["client_token"])
    call(area, "tidy", token.tidy)


def approle(client):
    area, role = "auth: approle", client.auth.approle
    call(area, "create_or_update_approle", role.create_or_update_approle, "web", token_policies=["reader"], token_ttl="20m")
    call(area, "list_roles", role.list_roles, expect=lambda r: data(r)["keys"] == ["web"])
    call(area, "read_role", role.read_role, "web", expect=lambda r: data(r)["token_ttl"] == 1200)
    call(area, "read_role_id", role.read_role_id, "web", expect=lambda r: data(r)["role_id"])
    call(area, "update_role_id", role.update_role_id, "web", "web-role")
    made = data(call(area, "generate_secret_id", role.generate_secret_id, "web", metadata={"host": "a"}))
    secret, accessor = made.get("secret_id"), made.get("secret_id_accessor")
    call(area, "create_custom_secret_id", role.create_custom_secret_id, "web", "my-own-secret")
    call(area, "list_secret_id_accessors", role.list_secret_id_accessors, "web", expect=lambda r: accessor in data(r)["keys"])
    call(area, "read_secret_id", role.read_secret_id, "web", secret, expect=lambda r: data(r)["metadata"] == {"host": "a"})
    call(area, "read_secret_id_accessor", role.read_secret_id_accessor, "web", accessor)
    call(area, "login", connect().auth.approle.login, "web-role", secret, expect=lambda r: r["auth"]["metadata"]["host"] == "a")
    call(area, "destroy_secret_id", role.destroy_secret_id, "web", secret)
    accessor = data(role.generate_secret_id("web")).get("secret_id_accessor")
    call(area, "destroy_secret_id_accessor", role.destroy_secret_id_accessor, "web", accessor)
    call(area, "delete_role", role.delete_role, "web")


def userpass(client):
    area, user = "auth: userpass", client.auth.userpass
    client.sys.enable_auth_method("userpass")
    call(area, "create_or_update_user", user.create_or_update_user, "Alice", "right", policies=["reader"])
    call(area, "list_user", user.list_user, expect=lambda r: data(r)["keys"] == ["alice"])
    call(area, "read_user", user.read_user, "alice", expect=lambda r: data(r)["policies"] == ["reader"])
    call(area, "login", connect().auth.userpass.login, "alice", "right", expect=lambda r: r["auth"]["metadata"] == {"username": "alice"})
    call(area, "update_password_on_user", user.update_password_on_user, "alice", "new")
    assert connect().auth.userpass.login("alice", "new")
    call(area, "delete_user", user.delete_user, "alice")


def jwt(client):
    area, method = "auth: jwt", client.auth.jwt
    client.sys.enable_auth_method("jwt")
    call(area, "configure", method.configure, jwt_validation_pubkeys=[os.environ["COMPAT_PUBLIC_KEY"]], bound_issuer=os.environ["COMPAT_ISSUER"])
    call(area, "read_config", method.read_config, expect=lambda r: data(r)["bound_issuer"] == os.environ["COMPAT_ISSUER"])
    call(area, "create_role", method.create_role, "app", "sub", [], bound_audiences=["strongroom"], token_policies=["reader"])
    call(area, "read_role", method.read_role, "app", expect=lambda r: data(r)["user_claim"] == "sub")
    call(area, "list_roles", method.list_roles, expect=lambda r: data(r)["keys"] == ["app"])
    call(area, "jwt_login", connect().auth.jwt.jwt_login, "app", os.environ["COMPAT_JWT"], expect=lambda r: r["auth"]["client_token"])
    call(area, "delete_role", method.delete_role, "app")


def kv_two(client):
    area, kv, at = "secrets: kv 2", client.secrets.kv.v2, {"mount_point": "two"}
    call(area, "configure", kv.configure, max_versions=5, **at)
    call(area, "read_configuration", kv.read_configuration, expect=lambda r: data(r)["max_versions"] == 5, **at)
    call(area, "create_or_update_secret", kv.create_or_update_secret, "a/b", {"x": "1"}, cas=0, expect=lambda r: data(r)["version"] == 1, **at)
    call(area, "patch", kv.patch, "a/b", {"y": "2"}, expect=lambda r: data(r)["version"] == 2, **at)
    call(area, "read_secret", kv.read_secret, "a/b", raise_on_deleted_version=True, expect=lambda r: data(r)["data"] == {"x": "1", "y": "2"}, **at)
    call(area, "read_secret_version", kv.read_secret_version, "a/b", version=1, raise_on_deleted_version=True, expect=lambda r: data(r)["data"] == {"x": "1"}, **at)
    call(area, "list_secrets", kv.list_secrets, "a", expect=lambda r: data(r)["keys"] == ["b"], **at)
    call(area, "update_metadata", kv.update_metadata, "a/b", max_versions=3, custom_metadata={"owner": "me"}, **at)
    call(area, "read_secret_metadata", kv.read_secret_metadata, "a/b", expect=lambda r: data(r)["custom_metadata"] == {"owner": "me"}, **at)
    call(area, "delete_latest_version_of_secret", kv.delete_latest_version_of_secret, "a/b", **at)
    call(area, "undelete_secret_versions", kv.undelete_secret_versions, "a/b", [2], **at)
    call(area, "delete_secret_versions", kv.delete_secret_versions, "a/b", [1], **at)
    call(area, "destroy_secret_versions", kv.destroy_secret_versions, "a/b", [1], **at)
    call(area, "delete_metadata_and_all_versions", kv.delete_metadata_and_all_versions, "a/b", **at)


def kv_one(client):
    area, kv, at = "secrets: kv 1", client.secrets.kv.v1, {"mount_point": "one"}
    call(area, "enable", client.sys.enable_secrets_engine, "kv", path="one", options={"version": "1"})
    call(area, "create_or_update_secret", kv.create_or_update_secret, "a/b", {"x": "1"}, **at)
    call(area, "read_secret", kv.read_secret, "a/b", expect=lambda r: data(r) == {"x": "1"}, **at)
    call(area, "list_secrets", kv.list_secrets, "a", expect=lambda r: data(r)["keys"] == ["b"], **at)
    call(area, "delete_secret", kv.delete_secret, "a/b", **at)


def anything(client):
    area = "any path"
    call(area, "write", client.write, "cubbyhole/x", a="b")
    call(area, "write_data", client.write_data, "cubbyhole/y", data={"a": "c"})
    call(area, "read", client.read, "cubbyhole/x", expect=lambda r: data(r) == {"a": "b"})
    call(area, "read of nothing", client.read, "cubbyhole/nothing", expect=lambda r: r is None)
    call(area, "list", client.list, "cubbyhole", expect=lambda r: data(r)["keys"] == ["x", "y"])
    call(area, "delete", client.delete, "cubbyhole/x")


def database(client):
    area, base = "secrets: database", client.secrets.database
    client.sys.enable_secrets_engine("database")
    make = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"]
    call(
        area, "configure", base.configure, "shop", "postgresql-database-plugin", allowed_roles=["*"],
        connection_url=os.environ["COMPAT_PG_TEMPLATE"], username="strongroom", password=os.environ["COMPAT_PG_PASSWORD"],
    )
    call(area, "read_connection", base.read_connection, "shop", expect=lambda r: data(r)["plugin_name"])
    call(area, "list_connections", base.list_connections, expect=lambda r: data(r)["keys"] == ["shop"])
    call(area, "reset_connection", base.reset_connection, "shop")
    call(area, "create_role", base.create_role, "app", "shop", make, default_ttl="1h", max_ttl="2h")
    call(area, "read_role", base.read_role, "app", expect=lambda r: data(r)["db_name"] == "shop")
    call(area, "list_roles", base.list_roles, expect=lambda r: data(r)["keys"] == ["app"])
    made = call(area, "generate_credentials", base.generate_credentials, "app", expect=lambda r: data(r)["username"])
    lease, sys = (made or {}).get("lease_id"), client.sys
    call("sys: leases", "read_lease", sys.read_lease, lease, expect=lambda r: data(r)["id"] == lease)
    call("sys: leases", "renew_lease", sys.renew_lease, lease, increment=3600)
    call("sys: leases", "list_leases", sys.list_leases, "database/creds/app", expect=lambda r: len(data(r)["keys"]) == 1)
    call("sys: leases", "revoke_lease", sys.revoke_lease, lease)
    base.generate_credentials("app")
    call("sys: leases", "revoke_prefix", sys.revoke_prefix, "database/creds/app")
    base.generate_credentials("app")
    call("sys: leases", "revoke_force", sys.revoke_force, "database/creds/app")
    call(area, "create_static_role", base.create_static_role, "report", "shop", "report", ["ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'"], rotation_period=3600)
    call(area, "read_static_role", base.read_static_role, "report", expect=lambda r: data(r)["username"] == "report")
    call(area, "list_static_roles", base.list_static_roles, expect=lambda r: data(r)["keys"] == ["report"])
    call(area, "get_static_credentials", base.get_static_credentials, "report", expect=lambda r: data(r)["password"])
    call(area, "rotate_static_role_credentials", base.rotate_static_role_credentials, "report")
    call(area, "delete_static_role", base.delete_static_role, "report")
    call(area, "rotate_root_credentials", base.rotate_root_credentials, "shop")
    call(area, "delete_role", base.delete_role, "app")
    call(area, "delete_connection", base.delete_connection, "shop")


def identity(client):
    area, who = "secrets: identity", client.secrets.identity
    accessor = data(client.sys.list_auth_methods())["approle/"]["accessor"]
    made = data(call(area, "create_or_update_entity", who.create_or_update_entity, "alice", metadata={"a": "b"}))
    entity = made.get("id")
    call(area, "create_or_update_entity_by_name", who.create_or_update_entity_by_name, "bob", policies=["reader"])
    call(area, "read_entity", who.read_entity, entity, expect=lambda r: data(r)["name"] == "alice")
    bob = data(call(area, "read_entity_by_name", who.read_entity_by_name, "bob", expect=lambda r: data(r)["policies"] == ["reader"])).get("id")
    call(area, "update_entity", who.update_entity, entity, metadata={"a": "c"})
    call(area, "list_entities", who.list_entities, expect=lambda r: entity in data(r)["keys"])
    call(area, "list_entities_by_name", who.list_entities_by_name, expect=lambda r: "alice" in data(r)["keys"])
    alias = data(call(area, "create_or_update_entity_alias", who.create_or_update_entity_alias, "alice-role", entity, accessor)).get("id")
    call(area, "read_entity_alias", who.read_entity_alias, alias, expect=lambda r: data(r)["name"] == "alice-role")
    call(area, "update_entity_alias", who.update_entity_alias, alias, "alice-other", entity, accessor)
    call(area, "list_entity_aliases", who.list_entity_aliases, expect=lambda r: alias in data(r)["keys"])
    call(area, "lookup_entity", who.lookup_entity, name="alice", expect=lambda r: data(r)["id"] == entity)
    call(area, "delete_entity_alias", who.delete_entity_alias, alias)
    group = data(call(area, "create_or_update_group", who.create_or_update_group, "team", member_entity_ids=[entity])).get("id")
    call(area, "create_or_update_group_by_name", who.create_or_update_group_by_name, "other", policies=["reader"])
    call(area, "read_group", who.read_group, group, expect=lambda r: data(r)["member_entity_ids"] == [entity])
    call(area, "read_group_by_name", who.read_group_by_name, "other")
    call(area, "update_group", who.update_group, group, "team", metadata={"a": "b"})
    call(area, "list_groups", who.list_groups, expect=lambda r: group in data(r)["keys"])
    call(area, "list_groups_by_name", who.list_groups_by_name, expect=lambda r: "team" in data(r)["keys"])
    call(area, "lookup_group", who.lookup_group, name="team", expect=lambda r: data(r)["id"] == group)
    outside = data(call(area, "create_or_update_group (external)", who.create_or_update_group, "outside", group_type="external")).get("id")
    alias = data(call(area, "create_or_update_group_alias", who.create_or_update_group_alias, "admins", mount_accessor=accessor, canonical_id=outside)).get("id")
    call(area, "read_group_alias", who.read_group_alias, alias)
    call(area, "list_group_aliases", who.list_group_aliases, expect=lambda r: alias in data(r)["keys"])
    call(area, "update_group_alias", who.update_group_alias, alias, "bosses", mount_accessor=accessor, canonical_id=outside)
    call(area, "delete_group_alias", who.delete_group_alias, alias)
    call(area, "delete_group_by_name", who.delete_group_by_name, "other")
    call(area, "delete_group", who.delete_group, group)
    call(area, "merge_entities", who.merge_entities, [bob], entity)
    call(area, "configure_tokens_backend", who.configure_tokens_backend)
    call(area, "read_tokens_backend_configuration", who.read_tokens_backend_configuration)
    call(area, "create_named_key", who.create_named_key, "key", allowed_client_ids=["*"])
    call(area, "read_named_key", who.read_named_key, "key")
    call(area, "list_named_keys", who.list_named_keys)
    call(area, "rotate_named_key", who.rotate_named_key, "key", "1h")
    call(area, "create_or_update_role", who.create_or_update_role, "app", "key", ttl="30m")
    call(area, "read_role", who.read_role, "app")
    call(area, "list_roles", who.list_roles)
    call(area, "read_active_public_keys", who.read_active_public_keys)
    call(area, "read_well_known_configurations", who.read_well_known_configurations)
    call(area, "introspect_signed_id_token", who.introspect_signed_id_token, "x.y.z")
    call(area, "delete_role", who.delete_role, "app")
    call(area, "delete_named_key", who.delete_named_key, "key")
    call(area, "delete_entity_by_name", who.delete_entity_by_name, "alice")
    another = data(who.create_or_update_entity("carol")).get("id")
    call(area, "delete_entity", who.delete_entity, another)


CHAPTERS = [mounts, policies, operation, tokens, approle, userpass, jwt, kv_two, kv_one, anything, database, identity]

ROOT = opening()
for chapter in CHAPTERS:
    try:
        chapter(ROOT)
    except Exception as error:  # noqa: BLE001: a chapter that cannot go on does not end the others
        print(f"NOTE {chapter.__name__} ended early: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
call("any path", "logout", ROOT.logout)
