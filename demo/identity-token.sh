#!/usr/bin/env bash
# A signed identity token (JWT, RS256) for a workload, as a platform such as Kubernetes or a CI system issues it:
#     identity-token.sh SUBJECT KEY_FILE
set -euo pipefail
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
now=$(date +%s)
header=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url)
claims=$(printf '{"iss":"https://platform.example","aud":"strongroom","sub":"%s","iat":%d,"exp":%d}' \
    "$1" "$now" $((now + 600)) | base64url)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$2" -binary | base64url)
printf '%s.%s.%s' "$header" "$claims" "$signature"
