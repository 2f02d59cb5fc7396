//! Headers that the operator gives to replies.

use http::{HeaderName, HeaderValue, Response, StatusCode};

/// Headers by the status of the reply. Where several say something about one name, the most specific wins; what a reply
/// has of its own is never replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// The most specific first.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    statuses: Statuses,
    name: HeaderName,
    values: Vec<HeaderValue>,
}

/// Which replies are meant; the order is that of specificity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Statuses {
    One(u16),
    /// All with this first digit.
    Class(u16),
    All,
}

impl ResponseHeaders {
    /// Adds a header. `statuses` is `default`, a class such as `2xx`, or one status. Fails with what is wrong.
    pub fn add<'a>(
        &mut self,
        statuses: &str,
        name: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), String> {
        let statuses = Statuses::parse(statuses).ok_or_else(|| {
            format!("{statuses:?} is no status: use default, a class such as 2xx, or one such as 404")
        })?;
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("x-vault-") || lower.starts_with("x-strongroom-") {
            return Err(format!("the header {name:?} is the server's own"));
        }
        let name: HeaderName = lower.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
        if FRAMING.contains(&name.as_str()) {
            return Err(format!("the header {:?} belongs to the connection", name.as_str()));
        }
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| format!("a value of {name} is not printable"));
        let values = values.into_iter().map(value).collect::<Result<_, _>>()?;
        let at = self.rules.partition_point(|rule| rule.statuses <= statuses);
        self.rules.insert(at, Rule { statuses, name, values });
        Ok(())
    }

    /// Adds to `response` what its status calls for.
    pub(crate) fn add_to<T>(&self, response: &mut Response<T>) {
        let status = response.status();
        for rule in self.rules.iter().filter(|rule| rule.statuses.contain(status)) {
            if response.headers().contains_key(&rule.name) {
                continue;
            }
            for value in &rule.values {
                response.headers_mut().append(&rule.name, value.clone());
            }
        }
    }
}

impl Statuses {
    fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"default" => Some(Self::All),
            [first @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(Self::Class(u16::from(first - b'0'))),
            _ => text.parse().ok().filter(|status| (100..600).contains(status)).map(Self::One),
        }
    }

    fn contain(self, status: StatusCode) -> bool {
        match self {
            Self::One(one) => status.as_u16() == one,
            Self::Class(first) => status.as_u16() / 100 == first,
            Self::All => true,
        }
    }
}

/// Headers that say how a reply is sent.
const FRAMING: &[&str] = &["connection", "content-length", "content-type", "transfer-encoding"];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &ResponseHeaders, status: u16) -> Vec<String> {
        let mut response = Response::builder().status(status).header("cache-control", "no-store").body(()).unwrap();
        headers.add_to(&mut response);
        let text = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}={}", value.to_str().unwrap());
        response.headers().iter().map(text).skip(1).collect()
    }

    #[test]
    fn the_most_specific_header_wins_and_the_replys_own_stays() {
        let mut headers = ResponseHeaders::default();
        headers.add("default", "X-A", ["all"]).unwrap();
        headers.add("4xx", "X-A", ["class"]).unwrap();
        headers.add("404", "x-a", ["one"]).unwrap();
        headers.add("default", "X-B", ["1", "2"]).unwrap();
        headers.add("default", "Cache-Control", ["public"]).unwrap();
        assert_eq!(of(&headers, 200), ["x-a=all", "x-b=1", "x-b=2"]);
        assert_eq!(of(&headers, 403), ["x-a=class", "x-b=1", "x-b=2"]);
        assert_eq!(of(&headers, 404), ["x-a=one", "x-b=1", "x-b=2"]);
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        let mut headers = ResponseHeaders::default();
        for (status, name, value, word) in [
            ("2x", "X-A", "v", "2x"),
            ("600", "X-A", "v", "600"),
            ("default", "X-Vault-Index", "v", "own"),
            ("default", "x a", "v", "no name"),
            ("default", "Content-Length", "1", "connection"),
            ("default", "X-A", "a\nb", "printable"),
        ] {
            let error = headers.add(status, name, [value]).unwrap_err();
            assert!(error.contains(word), "{status} {name}: {error}");
        }
        assert_eq!(headers, ResponseHeaders::default());
    }
}
