//! `sys/tools`: random bytes and hashes.

use api::Count;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::Data;
use gate::Error;
use serde::{Deserialize, Serialize};

use super::{Cx, Routes, System, Verb};

pub(super) fn routes(routes: Routes<System>) -> Routes<System> {
    routes
        .on(Verb::Write, "tools/random", "Make random bytes.", random)
        .on(Verb::Write, "tools/random/{bytes}", "Make random bytes.", random_of)
        .on(Verb::Write, "tools/random/{source}/{bytes}", "Make random bytes.", random_from)
        .on(Verb::Write, "tools/hash", "Hash what is sent.", hash)
        .on(Verb::Write, "tools/hash/{algorithm}", "Hash what is sent.", hash_by)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RandomInput {
    bytes: Option<Count>,
    format: Option<String>,
    #[serde(rename = "source")]
    _source: Option<String>,
}

#[derive(Serialize)]
struct Random {
    random_bytes: String,
}

const MOST: u64 = 128 * 1024;

async fn random(_: Cx<System>, (): (), input: RandomInput) -> Result<Data<Random>, Error> {
    make(input.bytes.map_or(32, |count| count.0), input.format)
}

/// The one part behind `random` is a number of bytes or a source.
async fn random_of(_: Cx<System>, part: String, input: RandomInput) -> Result<Data<Random>, Error> {
    match part.parse() {
        Ok(count) => make(count, input.format),
        Err(_) if SOURCES.contains(&part.as_str()) => make(input.bytes.map_or(32, |count| count.0), input.format),
        Err(_) => Err(Error::invalid("bytes: use a whole number, or one of the sources platform, seal and all")),
    }
}

async fn random_from(
    _: Cx<System>,
    (source, bytes): (String, String),
    input: RandomInput,
) -> Result<Data<Random>, Error> {
    if !SOURCES.contains(&source.as_str()) {
        return Err(Error::invalid("source: use platform, seal or all"));
    }
    let count = bytes.parse().map_err(|_| Error::invalid("bytes: use a whole number"))?;
    make(count, input.format)
}

/// All of them are the one generator of the cryptographic backend.
const SOURCES: &[&str] = &["all", "platform", "seal"];

fn make(count: u64, format: Option<String>) -> Result<Data<Random>, Error> {
    if count == 0 || count > MOST {
        return Err(Error::invalid(format!("bytes: use 1 to {MOST}")));
    }
    let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
    crypto::random::fill(&mut bytes);
    Ok(Data(Random { random_bytes: encode(&bytes, format.as_deref().unwrap_or("base64"))? }))
}

fn encode(bytes: &[u8], format: &str) -> Result<String, Error> {
    match format {
        "base64" => Ok(STANDARD.encode(bytes)),
        "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        _ => Err(Error::invalid("format: use base64 or hex")),
    }
}

#[derive(Debug, Deserialize)]
struct HashInput {
    input: String,
    algorithm: Option<String>,
    format: Option<String>,
}

#[derive(Serialize)]
struct Hash {
    sum: String,
}

async fn hash(_: Cx<System>, (): (), input: HashInput) -> Result<Data<Hash>, Error> {
    let algorithm = input.algorithm.clone();
    digest(algorithm.as_deref().unwrap_or("sha2-256"), input)
}

async fn hash_by(_: Cx<System>, algorithm: String, input: HashInput) -> Result<Data<Hash>, Error> {
    digest(&algorithm, input)
}

fn digest(algorithm: &str, input: HashInput) -> Result<Data<Hash>, Error> {
    let bytes = STANDARD.decode(&input.input).map_err(|_| Error::invalid("input: it must be base64"))?;
    let sum = match algorithm {
        "sha2-224" => crypto::hash::sha224(&bytes).to_vec(),
        "sha2-256" => crypto::hash::sha256(&bytes).to_vec(),
        "sha2-384" => crypto::hash::sha384(&bytes).to_vec(),
        "sha2-512" => crypto::hash::sha512(&bytes).to_vec(),
        "sha3-256" => crypto::hash::sha3_256(&bytes).to_vec(),
        "sha3-384" => crypto::hash::sha3_384(&bytes).to_vec(),
        "sha3-512" => crypto::hash::sha3_512(&bytes).to_vec(),
        _ => {
            let known = "sha2-224, sha2-256, sha2-384, sha2-512, sha3-256, sha3-384 or sha3-512";
            return Err(Error::invalid(format!("algorithm: use {known}")));
        }
    };
    Ok(Data(Hash { sum: encode(&sum, input.format.as_deref().unwrap_or("hex"))? }))
}
