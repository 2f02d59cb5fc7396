use clap::ValueEnum;
use serde_json::Map;

use super::given;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// End a token, with its leases and the tokens made by it
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Our own token:
        strongroom token revoke -self

    One that is known by its accessor only:
        strongroom token revoke -accessor 9793c9b3-e04a-46f3-e7b8-748d7da248da

    All tokens that a method has made:
        strongroom token revoke -mode=path auth/jwt/")]
pub(crate) struct Revoke {
    /// The token or accessor (- reads standard input), or the path with -mode=path
    token: Option<String>,

    /// Take the argument for an accessor
    #[arg(long, requires = "token")]
    accessor: bool,

    /// End our own token
    #[arg(long = "self", conflicts_with_all = ["token", "accessor", "mode"])]
    own: bool,

    /// What else ends: orphan spares the tokens made by it, path ends those made at a path
    #[arg(long)]
    mode: Option<Mode>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Orphan,
    Path,
}

impl Revoke {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let doing = "revoking token";
        if self.own {
            session.write(doing, "auth/token/revoke-self", Map::new()).await?;
            return session.success("Revoked token (if it existed)");
        }
        let Some(token) = &self.token else {
            return Err(Failure::local("no token is given: give one, or -self for our own"));
        };
        let token = given(token)?;
        let (name, path) = match (self.accessor, self.mode) {
            (true, Some(_)) => return Err(Failure::local("-accessor and -mode do not go together")),
            (true, None) => ("accessor", "auth/token/revoke-accessor"),
            (false, None) => ("token", "auth/token/revoke"),
            (false, Some(Mode::Orphan)) => ("token", "auth/token/revoke-orphan"),
            (false, Some(Mode::Path)) => {
                let prefix = token.trim_matches('/');
                session.write(doing, &format!("sys/leases/revoke-prefix/{prefix}"), Map::new()).await?;
                return session.success("Revoked token (if it existed)");
            }
        };
        session.write(doing, path, Map::from_iter([(name.to_owned(), token.into())])).await?;
        session.success("Revoked token (if it existed)")
    }
}
