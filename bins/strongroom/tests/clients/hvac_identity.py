"""Identities through hvac: every call of its `secrets.identity`.

Everything it needs comes from the environment: where the server is and a root token. It ends with an exception at the first
thing that is not as it should be.
"""

import os

import hvac
from hvac import exceptions


def refused(kind, act, *arguments, **named):
    try:
        act(*arguments, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{act.__name__}{arguments} was not refused")


CLIENT = hvac.Client(url=os.environ["STORY_ADDR"], token=os.environ["STORY_TOKEN"], verify=os.environ["STORY_CA"])
IDENTITY = CLIENT.secrets.identity


def entities(accessor):
    made = IDENTITY.create_or_update_entity("shop", metadata={"team": "web"}, policies=["a", "b"])["data"]
    shop = made["id"]
    assert made["name"] == "shop"
    assert IDENTITY.create_or_update_entity_by_name("SHOP", policies="a").status_code == 204
    read = IDENTITY.read_entity(shop)["data"]
    assert (read["name"], read["policies"], read["metadata"], read["disabled"]) == ("SHOP", ["a"], {"team": "web"}, False)
    assert IDENTITY.update_entity(shop, name="shop", disabled=True).status_code == 204
    assert IDENTITY.read_entity_by_name("Shop")["data"]["disabled"] is True
    assert IDENTITY.update_entity(shop, name="shop", disabled=False).status_code == 204
    assert IDENTITY.list_entities()["data"]["keys"] == [shop]
    assert IDENTITY.list_entities(method="GET")["data"]["key_info"][shop]["name"] == "shop"
    assert IDENTITY.list_entities_by_name()["data"]["keys"] == ["shop"]
    refused(exceptions.InvalidPath, IDENTITY.read_entity, "none")
    refused(exceptions.InvalidRequest, IDENTITY.create_or_update_entity, "x", policies=["Root"])

    other = IDENTITY.create_or_update_entity_by_name("other")["data"]["id"]
    alias = IDENTITY.create_or_update_entity_alias("svc", other, accessor)["data"]["id"]
    read = IDENTITY.read_entity_alias(alias)["data"]
    assert (read["canonical_id"], read["mount_path"], read["mount_type"]) == (other, "auth/approle/", "approle")
    IDENTITY.update_entity_alias(alias, "svc", shop, accessor)
    assert IDENTITY.list_entity_aliases()["data"]["key_info"][alias]["canonical_id"] == shop
    found = IDENTITY.lookup_entity(alias_name="SVC", alias_mount_accessor=accessor)["data"]
    assert found["id"] == shop and found["aliases"][0]["name"] == "svc"
    assert IDENTITY.lookup_entity(name="none").status_code == 204

    second = IDENTITY.create_or_update_entity_alias("svc-2", other, accessor)["data"]["id"]
    refused(exceptions.InvalidRequest, IDENTITY.merge_entities, [other], shop)
    IDENTITY.merge_entities([other], shop, conflicting_alias_ids_to_keep=[alias])
    refused(exceptions.InvalidPath, IDENTITY.read_entity_alias, second)
    assert IDENTITY.read_entity(shop)["data"]["merged_entity_ids"] == [other]
    assert IDENTITY.delete_entity_alias(alias).status_code == 204
    return shop


def groups(shop, accessor):
    team = IDENTITY.create_or_update_group("team", policies=["team"], member_entity_ids=[shop])["data"]["id"]
    unit = IDENTITY.create_or_update_group_by_name("unit", member_group_ids=team)["data"]["id"]
    read = IDENTITY.read_group(team)["data"]
    assert (read["member_entity_ids"], read["parent_group_ids"], read["type"]) == ([shop], [unit], "internal")
    # What is not given is sent as null, and stays as it is.
    assert IDENTITY.update_group(team, "team", metadata={"room": "1"}).status_code == 204
    assert IDENTITY.read_group_by_name("TEAM")["data"]["member_entity_ids"] == [shop]
    entity = IDENTITY.read_entity(shop)["data"]
    assert (entity["direct_group_ids"], entity["inherited_group_ids"]) == ([team], [unit])
    refused(exceptions.InvalidRequest, IDENTITY.create_or_update_group, "team", member_group_ids=[unit])
    assert set(IDENTITY.list_groups()["data"]["keys"]) == {team, unit}
    assert IDENTITY.list_groups_by_name()["data"]["keys"] == ["team", "unit"]
    assert IDENTITY.lookup_group(name="Team")["data"]["id"] == team

    crew = IDENTITY.create_or_update_group("crew", group_type="external")["data"]["id"]
    alias = IDENTITY.create_or_update_group_alias("crew", mount_accessor=accessor, canonical_id=crew)["data"]["id"]
    assert IDENTITY.read_group_alias(alias)["data"]["canonical_id"] == crew
    IDENTITY.update_group_alias(alias, "staff", mount_accessor=accessor, canonical_id=crew)
    assert IDENTITY.list_group_aliases()["data"]["key_info"][alias]["name"] == "staff"
    assert IDENTITY.lookup_group(alias_name="Staff", alias_mount_accessor=accessor)["data"]["id"] == crew
    assert IDENTITY.delete_group_alias(alias).status_code == 204
    assert IDENTITY.delete_group(crew).status_code == 204
    assert IDENTITY.delete_group_by_name("unit").status_code == 204


def tokens():
    IDENTITY.configure_tokens_backend(issuer=os.environ["STORY_ADDR"])
    assert IDENTITY.read_tokens_backend_configuration()["data"]["issuer"] == os.environ["STORY_ADDR"]
    IDENTITY.create_named_key("key", allowed_client_ids=["*"], algorithm="ES512")
    assert IDENTITY.read_named_key("key")["data"]["algorithm"] == "ES512"
    assert IDENTITY.list_named_keys()["data"]["keys"] == ["key"]
    IDENTITY.create_or_update_role("role", "key", ttl="10m")
    client_id = IDENTITY.read_role("role")["data"]["client_id"]
    assert len(client_id) == 26 and IDENTITY.list_roles()["data"]["keys"] == ["role"]
    CLIENT.auth.token.create_or_update_role("aliased", allowed_entity_aliases="svc-*", allowed_policies="default,teller")
    CLIENT.sys.create_or_update_policy("teller", 'path "identity/oidc/token/role" { capabilities = ["read"] }')
    made = CLIENT.auth.token.create(role_name="aliased", entity_alias="svc-1", policies=["default", "teller"])["auth"]
    assert made["entity_id"]
    caller = hvac.Client(url=CLIENT.url, token=made["client_token"], verify=os.environ["STORY_CA"])
    signed = caller.secrets.identity.generate_signed_id_token("role")["data"]
    assert (signed["client_id"], signed["ttl"]) == (client_id, 600)
    assert IDENTITY.introspect_signed_id_token(signed["token"])["active"] is True
    assert IDENTITY.introspect_signed_id_token(signed["token"] + "x")["active"] is False
    nobody = hvac.Client(url=CLIENT.url, verify=os.environ["STORY_CA"]).secrets.identity
    known = nobody.read_well_known_configurations()
    assert known["jwks_uri"] == known["issuer"] + "/.well-known/keys"
    assert {key["crv"] for key in nobody.read_active_public_keys()["keys"]} == {"P-521"}
    refused(exceptions.InvalidRequest, IDENTITY.delete_named_key, "key")
    refused(exceptions.InvalidRequest, IDENTITY.generate_signed_id_token, "role")
    IDENTITY.delete_role("role")
    IDENTITY.delete_named_key("key")
    refused(exceptions.InvalidPath, IDENTITY.read_named_key, "key")


CLIENT.sys.enable_auth_method("approle")
ACCESSOR = CLIENT.sys.list_auth_methods()["data"]["approle/"]["accessor"]
SHOP = entities(ACCESSOR)
groups(SHOP, ACCESSOR)
tokens()
assert IDENTITY.delete_entity(SHOP).status_code == 204
assert IDENTITY.delete_entity_by_name("none").status_code == 204
print("told")
