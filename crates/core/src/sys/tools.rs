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
        .on(Verb::Write, "tools/hash", "Hash what is sent.", hash)
        .on(Verb::Write, "tools/hash/{algorithm}", "Hash what is sent.", hash_by)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RandomInput {
    bytes: Option<Count>,
    format: Option<String>,
}

#[derive(Serialize)]
struct Random {
    random_bytes: String,
}

const MOST: u64 = 128 * 1024;

async fn random(_: Cx<System>, (): (), input: RandomInput) -> Result<Data<Random>, Error> {
    make(input.bytes.map_or(32, |count| count.0), input.format)
}

async fn random_of(_: Cx<System>, bytes: String, input: RandomInput) -> Result<Data<Random>, Error> {
    let count = bytes.parse().map_err(|_| Error::invalid(format!("bytes: \"{bytes}\" is not a whole number")))?;
    make(count, input.format)
}

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
        _ => return Err(Error::invalid("algorithm: use sha2-224, sha2-256, sha2-384 or sha2-512")),
    };
    Ok(Data(Hash { sum: encode(&sum, input.format.as_deref().unwrap_or("hex"))? }))
}
