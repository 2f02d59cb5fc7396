//! Whom a proxy speaks for.

use std::net::{IpAddr, SocketAddr};

use gate::Error;
use http::HeaderMap;

use crate::ForwardedFor;

/// Where a request comes from: the peer, or whom a believed proxy names in `X-Forwarded-For`. The port is the peer's.
pub(crate) fn source(
    peer: SocketAddr,
    headers: &HeaderMap,
    config: Option<&ForwardedFor>,
) -> Result<(IpAddr, u16), Error> {
    let address = peer.ip().to_canonical();
    let own = (address, peer.port());
    let Some(config) = config else { return Ok(own) };
    let mut hops = headers.get_all(HEADER).iter().peekable();
    let present = hops.peek().is_some();
    if !config.authorized.iter().any(|proxy| proxy.contains(&address)) {
        return match present && config.reject_not_authorized {
            true => Err(Error::invalid("x-forwarded-for is not taken from this address")),
            false => Ok(own),
        };
    }
    if !present {
        return match config.reject_not_present {
            true => Err(Error::invalid("missing x-forwarded-for header: the proxy must send it")),
            false => Ok(own),
        };
    }
    let mut all = Vec::new();
    for value in hops {
        let value = value.to_str().map_err(|_| Error::invalid("x-forwarded-for must be ASCII"))?;
        all.extend(value.split(',').map(str::trim));
    }
    let chosen = all.len().checked_sub(config.hop_skips + 1).and_then(|at| all.get(at));
    let chosen = chosen.ok_or_else(|| Error::invalid("x-forwarded-for has fewer addresses than hops to skip"))?;
    let parsed = chosen.parse::<IpAddr>().or_else(|_| chosen.parse::<SocketAddr>().map(|address| address.ip()));
    let parsed = parsed.map_err(|_| Error::invalid("x-forwarded-for holds something that is no address"))?;
    Ok((parsed.to_canonical(), peer.port()))
}

const HEADER: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, values: &[&str], change: impl Fn(&mut ForwardedFor)) -> Result<String, String> {
        let mut config = ForwardedFor::new(vec!["10.0.0.0/8".parse().unwrap()]);
        change(&mut config);
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        let found = source(peer.parse().unwrap(), &headers, Some(&config));
        found.map(|(address, _)| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_believed_proxies_speak_for_others() {
        let as_is = |_: &mut ForwardedFor| {};
        assert_eq!(ask("10.1.1.1:5", &["1.2.3.4"], as_is).unwrap(), "1.2.3.4");
        assert_eq!(ask("[::ffff:10.1.1.1]:5", &["1.2.3.4:99"], as_is).unwrap(), "1.2.3.4");
        assert_eq!(ask("10.1.1.1:5", &["6.6.6.6, 1.2.3.4", "5.6.7.8"], as_is).unwrap(), "5.6.7.8");
        assert_eq!(ask("10.1.1.1:5", &["6.6.6.6, 1.2.3.4", "5.6.7.8"], |c| c.hop_skips = 1).unwrap(), "1.2.3.4");
        assert!(ask("10.1.1.1:5", &["1.2.3.4"], |c| c.hop_skips = 1).is_err());
        assert!(ask("10.1.1.1:5", &["unknown"], as_is).is_err());
        assert!(ask("10.1.1.1:5", &[], as_is).is_err());
        assert_eq!(ask("10.1.1.1:5", &[], |c| c.reject_not_present = false).unwrap(), "10.1.1.1");
        assert!(ask("9.9.9.9:5", &["1.2.3.4"], as_is).is_err());
        assert_eq!(ask("9.9.9.9:5", &["1.2.3.4"], |c| c.reject_not_authorized = false).unwrap(), "9.9.9.9");
        assert_eq!(ask("9.9.9.9:5", &[], as_is).unwrap(), "9.9.9.9");
    }
}
