use crate::{
    failure::{DONE, Failure, Outcome},
    session::Session,
};

/// Print what the command line would use
#[derive(clap::Subcommand)]
#[command(after_help = "EXAMPLES:
    Use the kept token in another program:
        curl -H \"X-Vault-Token: $(strongroom print token)\" https://strongroom.example:8200/v1/secret/data/app")]
pub(crate) enum Print {
    Token(Token),
}

/// Print the token that the commands use
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Print the token of STRONGROOM_TOKEN, VAULT_TOKEN or ~/.vault-token:
        strongroom print token")]
pub(crate) struct Token {}

impl Print {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let Self::Token(Token {}) = self;
        let token = session.config()?.token.ok_or_else(|| {
            Failure::local("there is no token: log in with `strongroom login`, or set STRONGROOM_TOKEN")
        })?;
        // EXPOSE: printing the token is what was asked for.
        session.terminal.print(token.expose().trim())?;
        Ok(DONE)
    }
}
