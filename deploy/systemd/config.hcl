# Goes to /etc/strongroom/config.hcl, with the unit beside this file.

storage "embedded" {
  path = "/var/lib/strongroom"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/strongroom/tls.crt"
  tls_key_file  = "/etc/strongroom/tls.key"
}

# Opens the server at its start, with a key that systemd hands over.
seal "static" {
  current_key_id = "2026-01"
  current_key    = "credential://seal-key"
}

api_addr = "https://strongroom.example:8200"
