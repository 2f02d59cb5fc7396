//! What operators call: status, keys, sealing.

use super::{DENIED, call};
use crate::Story;

const SEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,"nonce":"","version":"1.16.3","build_date":"",
    "migration":false,"recovery_seal":false,"storage_type":"embedded"}"#;
const OPEN: &str = r#"{"type":"shamir","initialized":true,"sealed":false,"t":3,"n":5,"progress":0,"nonce":"","version":"1.16.3","build_date":"",
    "migration":false,"cluster_name":"main","cluster_id":"c-1","recovery_seal":false,"storage_type":"embedded"}"#;
const LEADER: &str = r#"{"ha_enabled":false,"is_self":false,"active_time":"0001-01-01T00:00:00Z","leader_address":""}"#;
const MADE: &str = r#"{"keys":["00aa","11bb"],"keys_base64":["AKo=","Ebs="],"root_token":"hvs.root"}"#;
const REKEY: &str = r#"{"nonce":"n-1","started":true,"t":2,"n":3,"progress":0,"required":2,"pgp_fingerprints":null,"backup":false,"verification_required":false}"#;
const ATTEMPT: &str = r#"{"nonce":"n-1","started":true,"progress":0,"required":3,"complete":false,"encoded_token":"","encoded_root_token":"",
    "pgp_fingerprint":"","otp":"","otp_length":28}"#;

pub(super) fn all() -> Vec<Story> {
    vec![
        call(
            "status-sealed",
            "status",
            &[("GET /v1/sys/seal-status", 200, SEALED), ("GET /v1/sys/leader", 503, DENIED)],
        ),
        call("status-open", "status", &[("GET /v1/sys/seal-status", 200, OPEN), ("GET /v1/sys/leader", 200, LEADER)]),
        call(
            "status-json",
            "status -format=json",
            &[("GET /v1/sys/seal-status", 200, OPEN), ("GET /v1/sys/leader", 200, LEADER)],
        ),
        call("status-error", "status", &[("GET /v1/sys/seal-status", 400, DENIED)]),
        call("init", "operator init -key-shares=2 -key-threshold=2", &[("PUT /v1/sys/init", 200, MADE)]),
        call("init-json", "operator init -n 2 -t 2 -format=json", &[("PUT /v1/sys/init", 200, MADE)]),
        call("init-half", "operator init -key-shares=2", &[]),
        call("init-status", "operator init -status", &[("GET /v1/sys/init", 200, r#"{"initialized":false}"#)]),
        Story {
            stdin: "AKo=\n",
            ..call(
                "unseal",
                "operator unseal -",
                &[("PUT /v1/sys/unseal", 200, SEALED), ("GET /v1/sys/leader", 503, DENIED)],
            )
        },
        call("unseal-reset", "operator unseal -reset", &[("PUT /v1/sys/unseal", 200, SEALED)]),
        call("unseal-no-prompt", "operator unseal -non-interactive", &[]),
        call("seal", "operator seal", &[("PUT /v1/sys/seal", 204, "")]),
        call(
            "key-status",
            "operator key-status",
            &[(
                "GET /v1/sys/key-status",
                200,
                r#"{"request_id":"r","data":{"term":2,"install_time":"2026-01-02T03:04:05.6Z","encryptions":1234}}"#,
            )],
        ),
        call(
            "rotate",
            "operator rotate",
            &[
                ("PUT /v1/sys/rotate", 204, ""),
                (
                    "GET /v1/sys/key-status",
                    200,
                    r#"{"request_id":"r","data":{"term":3,"install_time":"2026-01-02T03:04:05.6Z","encryptions":0}}"#,
                ),
            ],
        ),
        call(
            "rekey-init",
            "operator rekey -init -key-shares=3 -key-threshold=2",
            &[("PUT /v1/sys/rekey/init", 200, REKEY)],
        ),
        call("rekey-status", "operator rekey -status", &[("GET /v1/sys/rekey/init", 200, REKEY)]),
        Story {
            stdin: "AKo=",
            ..call(
                "rekey-update",
                "operator rekey -nonce=n-1 -",
                &[
                    ("GET /v1/sys/rekey/init", 200, REKEY),
                    (
                        "PUT /v1/sys/rekey/update",
                        200,
                        r#"{"nonce":"n-1","complete":true,"keys":["22"],"keys_base64":["Ig=="],"pgp_fingerprints":null}"#,
                    ),
                ],
            )
        },
        call("rekey-no-nonce", "operator rekey AKo=", &[("GET /v1/sys/rekey/init", 200, REKEY)]),
        call("rekey-cancel", "operator rekey -cancel", &[("DELETE /v1/sys/rekey/init", 204, "")]),
        call(
            "generate-root-status",
            "operator generate-root -status",
            &[("GET /v1/sys/generate-root/attempt", 200, ATTEMPT)],
        ),
        Story {
            stdin: "AKo=",
            ..call(
                "generate-root-update",
                "operator generate-root -nonce=n-1 -",
                &[
                    ("GET /v1/sys/generate-root/attempt", 200, ATTEMPT),
                    (
                        "PUT /v1/sys/generate-root/update",
                        200,
                        r#"{"nonce":"n-1","started":true,"progress":3,"required":3,"complete":true,"encoded_token":"abc","otp_length":28}"#,
                    ),
                ],
            )
        },
        call(
            "generate-root-decode",
            "operator generate-root -address http://127.0.0.1:1 -tls-skip-verify -decode MgdAfEQGa0YFfFkOaFhTMQdQIwFRIANSCi5zEw -otp Zq3Rt7Yu1Io9Pa2Sd4Fg6Hj8Kl0W",
            &[],
        ),
    ]
}
