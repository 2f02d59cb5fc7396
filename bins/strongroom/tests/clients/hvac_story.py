"""The main job told through hvac, the Python client of the Vault API.

Everything it needs comes from the environment: where the server is (not initialised yet), where PostgreSQL is, a signed
identity token. It prints a line for each chapter and ends with an exception at the first thing that is not as it should be.
"""

import os
import subprocess

import hvac
import requests
from hvac import exceptions


def refused(kind, act, *arguments, **named):
    try:
        act(*arguments, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{act.__name__}{arguments} was not refused")


def sql(url, statement):
    run = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-c", statement, url], capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else None


ADDRESS, AUTHORITY = os.environ["STORY_ADDR"], os.environ["STORY_CA"]
FOLDER = os.environ["STORY_FOLDER"]


def connect(token=None):
    return hvac.Client(url=ADDRESS, token=token, verify=AUTHORITY)


def seals(client):
    """Whether the seal is done. It ends the connections that are open, which a client may notice too late."""
    try:
        return client.sys.is_sealed()
    except requests.exceptions.ConnectionError:
        return False


def opening():
    client = connect()
    assert not client.sys.is_initialized() and client.sys.is_sealed()
    refused(exceptions.InvalidRequest, client.sys.initialize, 3, 9)
    made = client.sys.initialize(secret_shares=3, secret_threshold=2)
    keys, root = made["keys"], made["root_token"]
    assert len(keys) == 3 and client.sys.is_initialized() and client.sys.is_sealed()
    refused(exceptions.VaultDown, connect(root).sys.list_mounted_secrets_engines)
    assert client.sys.submit_unseal_key(keys[0])["progress"] == 1
    assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
    client.sys.submit_unseal_keys(keys[:2])
    assert not client.sys.is_sealed()
    status = client.sys.read_seal_status()
    assert (status["t"], status["n"], status["type"]) == (2, 3, "shamir")
    assert client.sys.read_health_status(method="GET")["sealed"] is False
    client = connect(root)
    assert client.is_authenticated() and not connect("hvs.nothing").is_authenticated()
    client.sys.rotate_encryption_key()
    assert client.sys.get_encryption_key_status()["data"]["term"] == 2
    begun = client.sys.start_root_token_generation()
    nonce, otp = begun["nonce"], begun["otp"]
    client.sys.generate_root(key=keys[0], nonce=nonce)
    done = client.sys.generate_root(key=keys[1], nonce=nonce)
    assert done["complete"] and len(otp) == 28
    begun = client.sys.start_rekey(secret_shares=1, secret_threshold=1)
    done = client.sys.rekey_multi(keys[:2], nonce=begun["nonce"])
    assert done["complete"] and len(done["keys"]) == 1
    client.sys.seal()
    while not seals(client):
        pass
    client.sys.submit_unseal_key(done["keys"][0])
    assert not client.sys.is_sealed()
    return client


def secrets(client):
    client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    assert client.sys.list_mounted_secrets_engines()["data"]["kv/"]["options"] == {"version": "2"}
    kv = client.secrets.kv.v2
    kv.configure(max_versions=5, mount_point="kv")
    assert kv.read_configuration(mount_point="kv")["data"]["max_versions"] == 5
    made = kv.create_or_update_secret("shop/payment", {"api_key": "one", "n": 1}, cas=0, mount_point="kv")
    assert made["data"]["version"] == 1
    refused(exceptions.InvalidRequest, kv.create_or_update_secret, "shop/payment", {"a": 1}, cas=0, mount_point="kv")
    kv.create_or_update_secret("shop/payment", {"api_key": "two", "n": 2}, cas=1, mount_point="kv")
    kv.patch("shop/payment", {"n": 3}, mount_point="kv")
    read = kv.read_secret_version("shop/payment", mount_point="kv", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"api_key": "two", "n": 3} and read["data"]["metadata"]["version"] == 3
    read = kv.read_secret_version("shop/payment", version=1, mount_point="kv", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"api_key": "one", "n": 1}
    refused(exceptions.InvalidPath, kv.read_secret_version, "none", mount_point="kv", raise_on_deleted_version=True)
    assert kv.list_secrets("", mount_point="kv")["data"]["keys"] == ["shop/"]
    assert kv.list_secrets("shop", mount_point="kv")["data"]["keys"] == ["payment"]
    kv.delete_latest_version_of_secret("shop/payment", mount_point="kv")
    refused(exceptions.InvalidPath, kv.read_secret_version, "shop/payment", mount_point="kv", raise_on_deleted_version=True)
    gone = kv.read_secret_version("shop/payment", mount_point="kv", raise_on_deleted_version=False)
    assert gone["data"]["data"] is None and gone["data"]["metadata"]["deletion_time"]
    kv.undelete_secret_versions("shop/payment", [3], mount_point="kv")
    kv.delete_secret_versions("shop/payment", [1, 2], mount_point="kv")
    kv.destroy_secret_versions("shop/payment", [1], mount_point="kv")
    kv.update_metadata("shop/payment", max_versions=4, cas_required=True, custom_metadata={"owner": "shop"}, mount_point="kv")
    metadata = kv.read_secret_metadata("shop/payment", mount_point="kv")["data"]
    assert metadata["versions"]["1"]["destroyed"] and metadata["versions"]["2"]["deletion_time"]
    assert metadata["current_version"] == 3 and metadata["custom_metadata"] == {"owner": "shop"}
    refused(exceptions.InvalidRequest, kv.create_or_update_secret, "shop/payment", {"a": 1}, mount_point="kv")
    kv.delete_metadata_and_all_versions("shop/payment", mount_point="kv")
    refused(exceptions.InvalidPath, kv.read_secret_metadata, "shop/payment", mount_point="kv")
    kv.create_or_update_secret("prod/shop", {"api_key": "three"}, mount_point="kv")

    client.sys.enable_secrets_engine("kv", path="plain", options={"version": "1"})
    plain = client.secrets.kv.v1
    plain.create_or_update_secret("a/b", {"x": "y"}, mount_point="plain")
    assert plain.read_secret("a/b", mount_point="plain")["data"] == {"x": "y"}
    assert plain.list_secrets("a", mount_point="plain")["data"]["keys"] == ["b"]
    plain.delete_secret("a/b", mount_point="plain")
    refused(exceptions.InvalidPath, plain.read_secret, "a/b", mount_point="plain")
    client.sys.tune_mount_configuration("plain", default_lease_ttl="30m", max_lease_ttl="1h", description="plain")
    assert client.sys.read_mount_configuration("plain")["data"]["max_lease_ttl"] == 3600
    client.sys.move_backend("plain", "simple")
    assert "simple/" in client.sys.list_mounted_secrets_engines()["data"]
    client.sys.disable_secrets_engine("simple")
    assert "simple/" not in client.sys.list_mounted_secrets_engines()["data"]


POLICY = """
path "kv/data/prod/*" { capabilities = ["read"] }
path "database/creds/shop" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }
"""


def logins(client):
    client.sys.create_or_update_policy("shop", POLICY)
    assert client.sys.read_policy("shop")["data"]["rules"] == POLICY
    assert set(client.sys.list_policies()["data"]["policies"]) >= {"default", "root", "shop"}
    client.sys.create_or_update_acl_policy("other", 'path "x" { capabilities = ["deny"] }')
    assert "other" in client.sys.list_acl_policies()["data"]["keys"]
    assert client.sys.read_acl_policy("other")["data"]["name"] == "other"
    client.sys.delete_acl_policy("other")
    refused(exceptions.InvalidRequest, client.sys.create_or_update_policy, "bad", "path")

    client.sys.enable_auth_method("approle")
    assert "approle/" in client.sys.list_auth_methods()["data"]
    client.sys.tune_auth_method("approle", default_lease_ttl="1h")
    assert client.sys.read_auth_method_tuning("approle")["data"]["default_lease_ttl"] == 3600
    approle = client.auth.approle
    approle.create_or_update_approle("web", token_policies=["shop"], token_ttl="10m", secret_id_num_uses=1)
    assert approle.list_roles()["data"]["keys"] == ["web"]
    assert approle.read_role("web")["data"]["token_policies"] == ["shop"]
    role_id = approle.read_role_id("web")["data"]["role_id"]
    made = approle.generate_secret_id("web", metadata={"host": "a"})["data"]
    assert approle.list_secret_id_accessors("web")["data"]["keys"] == [made["secret_id_accessor"]]
    assert approle.read_secret_id("web", made["secret_id"])["data"]["metadata"] == {"host": "a"}
    web = connect()
    auth = web.auth.approle.login(role_id, made["secret_id"])["auth"]
    assert auth["policies"] == ["default", "shop"] and web.is_authenticated()
    assert web.secrets.kv.v2.read_secret_version("prod/shop", mount_point="kv", raise_on_deleted_version=True)["data"]["data"]["api_key"] == "three"
    refused(exceptions.Forbidden, web.sys.list_mounted_secrets_engines)
    refused(exceptions.InvalidRequest, connect().auth.approle.login, role_id, made["secret_id"])
    made = approle.generate_secret_id("web")["data"]
    approle.destroy_secret_id("web", made["secret_id"])
    refused(exceptions.InvalidRequest, connect().auth.approle.login, role_id, made["secret_id"])
    wrapped = approle.generate_secret_id("web", wrap_ttl="60s")["wrap_info"]
    unwrapped = connect().sys.unwrap(wrapped["token"])["data"]
    connect().auth.approle.login(role_id, unwrapped["secret_id"])

    client.sys.enable_auth_method("jwt")
    client.auth.jwt.configure(jwt_validation_pubkeys=[os.environ["STORY_PUBLIC_KEY"]], bound_issuer=os.environ["STORY_ISSUER"])
    assert client.auth.jwt.read_config()["data"]["bound_issuer"] == os.environ["STORY_ISSUER"]
    client.auth.jwt.create_role(
        "shop", role_type="jwt", user_claim="sub", allowed_redirect_uris=[], bound_audiences=["strongroom"], token_policies=["shop"], token_ttl=600
    )
    assert client.auth.jwt.list_roles()["data"]["keys"] == ["shop"]
    job = connect()
    auth = job.auth.jwt.jwt_login("shop", os.environ["STORY_JWT"])["auth"]
    job.token = auth["client_token"]
    assert job.lookup_token()["data"]["display_name"].startswith("jwt-")
    refused(exceptions.InvalidRequest, connect().auth.jwt.jwt_login, "shop", os.environ["STORY_JWT"][:-4] + "AAAA")
    return job


def tokens(client, job):
    token = client.auth.token
    made = token.create(policies=["shop"], ttl="1h", meta={"team": "shop"}, display_name="hvac")["auth"]
    assert made["renewable"] and made["lease_duration"] == 3600 and made["metadata"] == {"team": "shop"}
    own = connect(made["client_token"])
    assert own.auth.token.lookup_self()["data"]["display_name"] == "token-hvac"
    assert own.auth.token.renew_self(increment="2h")["auth"]["lease_duration"] == 7200
    assert token.lookup(made["client_token"])["data"]["accessor"] == made["accessor"]
    assert token.lookup_accessor(made["accessor"])["data"]["policies"] == ["default", "shop"]
    assert made["accessor"] in token.list_accessors()["data"]["keys"]
    child = connect(own.auth.token.create()["auth"]["client_token"])
    assert child.is_authenticated()
    orphan = connect(token.create_orphan(policies=["shop"])["auth"]["client_token"])
    own.auth.token.revoke_self()
    assert not own.is_authenticated() and orphan.is_authenticated()
    token.revoke_accessor(orphan.auth.token.lookup_self()["data"]["accessor"])
    assert not orphan.is_authenticated()
    token.create_or_update_role("ci", allowed_policies=["shop"], orphan=True)
    assert token.read_role("ci")["data"]["allowed_policies"] == ["shop"] and token.list_roles()["data"]["keys"] == ["ci"]
    assert token.create(role_name="ci")["auth"]["orphan"]
    refused(exceptions.InvalidRequest, job.auth.token.create, policies=["root"])
    refused(exceptions.Forbidden, job.auth.token.list_accessors)

    assert client.sys.get_capabilities(["kv/data/prod/shop"], token=job.token)["kv/data/prod/shop"] == ["read"]
    assert job.sys.get_capabilities(["kv/data/prod/shop", "sys/mounts"])["sys/mounts"] == ["deny"]
    accessor = token.lookup(job.token)["data"]["accessor"]
    assert client.sys.get_capabilities(["database/creds/shop"], accessor=accessor)["capabilities"] == ["read"]

    wrapped = client.sys.wrap({"k": "v"}, ttl="60s")["wrap_info"]["token"]
    looked = client.write("sys/wrapping/lookup", token=wrapped)["data"]
    assert looked["creation_path"] == "sys/wrapping/wrap"
    assert connect(wrapped).sys.unwrap()["data"] == {"k": "v"}
    refused(exceptions.InvalidRequest, client.sys.unwrap, wrapped)


def database(client, job):
    client.sys.enable_secrets_engine("database")
    engine = client.secrets.database
    settings = dict(plugin_name="postgresql-database-plugin", allowed_roles=["*"], connection_url=os.environ["STORY_PG_TEMPLATE"])
    refused(exceptions.InvalidRequest, engine.configure, "shop", username="strongroom", password="wrong", **settings)
    engine.configure("shop", username="strongroom", password=os.environ["STORY_PG_PASSWORD"], **settings)
    assert engine.list_connections()["data"]["keys"] == ["shop"]
    assert "password" not in engine.read_connection("shop")["data"]["connection_details"]
    engine.rotate_root_credentials("shop")
    engine.reset_connection("shop")
    create = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"]
    engine.create_role("shop", db_name="shop", creation_statements=create, default_ttl="1h", max_ttl="2h")
    assert engine.list_roles()["data"]["keys"] == ["shop"] and engine.read_role("shop")["data"]["creation_statements"] == create

    made = job.secrets.database.generate_credentials("shop")
    name, password, lease = made["data"]["username"], made["data"]["password"], made["lease_id"]
    url = os.environ["STORY_PG_TEMPLATE"].replace("{{username}}", name).replace("{{password}}", password)
    assert sql(url, "SELECT current_user") == name and made["renewable"]
    assert client.sys.read_lease(lease)["data"]["id"] == lease
    assert client.sys.renew_lease(lease, increment=5400)["lease_duration"] == 5400
    assert client.sys.list_leases("database/creds/shop")["data"]["keys"] == [lease.rsplit("/", 1)[1]]
    client.sys.revoke_lease(lease)
    while sql(url, "SELECT 1") is not None:
        pass
    refused(exceptions.InvalidRequest, client.sys.read_lease, lease)
    job.secrets.database.generate_credentials("shop")
    client.sys.revoke_prefix("database/creds/shop")
    job.secrets.database.generate_credentials("shop")
    client.sys.revoke_force("database/creds/shop")

    engine.create_static_role("report", db_name="shop", username="report", rotation_statements=[], rotation_period="24h")
    first = engine.get_static_credentials("report")["data"]
    assert first["username"] == "report" and first["ttl"] > 86000
    engine.rotate_static_role_credentials("report")
    second = engine.get_static_credentials("report")["data"]
    assert first["password"] != second["password"]
    login = os.environ["STORY_PG_TEMPLATE"].replace("{{username}}", "report")
    assert sql(login.replace("{{password}}", second["password"]), "SELECT 1") == "1"
    assert sql(login.replace("{{password}}", first["password"]), "SELECT 1") is None
    assert engine.list_static_roles()["data"]["keys"] == ["report"]
    engine.delete_static_role("report")
    engine.delete_role("shop")


def audit(client):
    client.sys.enable_audit_device("file", options={"file_path": f"{FOLDER}/hvac-audit.log"})
    assert "file/" in client.sys.list_enabled_audit_devices()["data"]
    client.write("cubbyhole/x", value="hashed-value")
    hashed = client.sys.calculate_hash("file", "hashed-value")["hash"]
    with open(f"{FOLDER}/hvac-audit.log", encoding="utf-8") as file:
        text = file.read()
    assert hashed in text and "hashed-value" not in text
    client.sys.disable_audit_device("file")
    assert client.read("cubbyhole/x")["data"] == {"value": "hashed-value"}
    assert client.list("cubbyhole")["data"]["keys"] == ["x"]
    client.delete("cubbyhole/x")
    assert client.read("cubbyhole/x") is None and client.list("cubbyhole") is None


root = opening()
print("opened", flush=True)
secrets(root)
print("secrets kept", flush=True)
worker = logins(root)
print("logged in", flush=True)
database_job = worker
tokens(root, worker)
print("tokens made and ended", flush=True)
database(root, database_job)
print("database users made and gone", flush=True)
audit(root)
print("told", flush=True)
