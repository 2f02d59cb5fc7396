# The web shop in production: its own database users, its own API key, nothing else.
path "database/creds/shop" {
  capabilities = ["read"]
}
path "kv/data/prod/shop/*" {
  capabilities = ["read"]
}
