//! One connection, set up so that our quoting holds and nothing hangs.

use std::time::{Duration, Instant};

use engine_database::target::Error;
use postgres_tls::Connector;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use crate::error::Failure;

/// A connection that is ready for statements.
pub(crate) struct Session {
    client: Client,
    born: Instant,
    /// The server's version as a number, such as 150004.
    version: u32,
    /// The server's clock when the connection was made, in seconds since 1970.
    server_time: f64,
}

impl Session {
    /// Connects and logs in.
    pub(crate) async fn open(config: &Config, connector: &Connector, secrets: &[&str]) -> Result<Self, Failure> {
        let connecting = config.connect(connector.clone());
        let limit = config.get_connect_timeout().copied().unwrap_or_default().max(Duration::from_secs(1));
        // The driver's own limit does not cover the login, and is per host.
        let limit = limit.saturating_mul(u32::try_from(config.get_hosts().len().max(1)).unwrap_or(1));
        let (client, connection) = match tokio::time::timeout(limit, connecting).await {
            Err(_) => return Err(Failure::of(Error::Unreachable("no answer in time".to_owned()), true)),
            Ok(Err(error)) => return Err(Failure::connecting(&error, secrets)),
            Ok(Ok(connected)) => connected,
        };
        tokio::spawn(async move {
            // Whoever uses the client gets the error too.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a database ended");
            }
        });
        let mut session = Self { client, born: Instant::now(), version: 0, server_time: 0.0 };
        let rows = session.query(SETUP, secrets).await.map_err(|mut failure| {
            failure.broken = true;
            failure
        })?;
        let mut numbers = rows.first().into_iter().flatten().flatten();
        session.version = numbers.next().and_then(|text| text.parse().ok()).unwrap_or_default();
        session.server_time = numbers.next().and_then(|text| text.parse().ok()).unwrap_or_default();
        session.born = Instant::now();
        Ok(session)
    }

    /// Runs statements as one transaction.
    pub(crate) async fn batch(&self, sql: &str, secrets: &[&str]) -> Result<(), Failure> {
        sendable(sql)?;
        match tokio::time::timeout(ANSWER_TIMEOUT, self.client.batch_execute(sql)).await {
            Err(_) => Err(Failure::of(Error::Unknown("no answer in time".to_owned()), true)),
            Ok(result) => result.map_err(|error| Failure::running(&error, secrets)),
        }
    }

    /// Runs statements as one transaction and gives all rows of their results.
    pub(crate) async fn query(&self, sql: &str, secrets: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        sendable(sql)?;
        let messages = match tokio::time::timeout(ANSWER_TIMEOUT, self.client.simple_query(sql)).await {
            Err(_) => return Err(Failure::of(Error::Unknown("no answer in time".to_owned()), true)),
            Ok(result) => result.map_err(|error| Failure::running(&error, secrets))?,
        };
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// An expression that fails if it reaches the server more than [`ARRIVAL`] from now: what was sent before a crash
    /// or a broken connection must not take effect when everybody has stopped expecting it.
    pub(crate) fn arrival_guard(&self) -> String {
        let deadline = self.server_time + (self.born.elapsed() + ARRIVAL).as_secs_f64();
        format!("1 / (pg_catalog.clock_timestamp() < pg_catalog.to_timestamp({deadline:.3}))::pg_catalog.int4")
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// The protocol ends a text at the first NUL; the driver would refuse it as a broken connection, which it is not.
fn sendable(sql: &str) -> Result<(), Failure> {
    match sql.contains('\0') {
        true => Err(Failure::of(Error::BadStatement("the statement has a NUL character".to_owned()), false)),
        false => Ok(()),
    }
}

/// After this time, statements that make a user no longer take effect.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(60);

/// Longer than the server itself gives a statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Our quoting takes backslashes as they are. The time limits hold per statement.
const SETUP: &str = "SET standard_conforming_strings = on; SET client_min_messages = warning; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '60s'; \
     SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())";
