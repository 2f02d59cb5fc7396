//! PGP public keys as the API takes them: base64 of the binary form.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{failure::Failure, input};

/// Reads the keys of `-pgp-keys`: files, separated by commas, each binary, armoured or in base64.
pub(super) fn keys(files: &[String]) -> Result<Vec<String>, Failure> {
    let names = files.iter().flat_map(|files| files.split(',')).map(str::trim).filter(|file| !file.is_empty());
    names.map(key).collect()
}

/// Reads one key.
pub(super) fn key(file: &str) -> Result<String, Failure> {
    if file.starts_with("keybase:") {
        return Err(Failure::local(format!("{file}: keys are not fetched from elsewhere; save the key to a file")));
    }
    let bytes = input::read_bytes(Path::new(file.strip_prefix('@').unwrap_or(file)))?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Ok(STANDARD.encode(&bytes));
    };
    let body: String = match text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        Some((_, armoured)) => armour_body(armoured),
        None => text.split_whitespace().collect(),
    };
    match STANDARD.decode(&body) {
        Ok(decoded) if !decoded.is_empty() => Ok(body),
        _ => Err(Failure::local(format!("{file} is no PGP public key: it must be binary, armoured or in base64"))),
    }
}

/// The base64 of an armoured block: behind the headers, before the checksum.
fn armour_body(armoured: &str) -> String {
    let lines = armoured.lines().skip(1).skip_while(|line| line.contains(':'));
    lines.map(str::trim).take_while(|line| !line.starts_with('=') && !line.starts_with('-')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let binary = [0x99, 1, 13, 4, 0xff];
        let base64 = STANDARD.encode(binary);
        let armoured = format!(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\n{base64}\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
        );
        let files = [file("a", &binary), file("b", armoured.as_bytes()), file("c", format!("{base64}\n").as_bytes())];
        let read = keys(&[files.join(",")]).map_err(|_| ()).unwrap();
        assert_eq!(read, [base64.clone(), base64.clone(), base64]);
        assert!(key(&file("d", b"not a key")).is_err());
        assert!(key("keybase:someone").is_err());
    }
}
