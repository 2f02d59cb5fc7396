use serde_json::{Map, Value};

use crate::{
    failure::{Failure, Outcome},
    input,
    session::Session,
};

/// Make a token
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    A token for a job that lasts an hour:
        strongroom token create -policy=app -ttl=1h

    One without a parent that lives as long as it is renewed daily:
        strongroom token create -orphan -period=24h -policy=app

    The token alone, for a script:
        strongroom token create -field=token -policy=app")]
pub(crate) struct Create {
    /// A policy that the token holds; may be repeated. Without one, it holds those of the caller
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,

    /// How long it lives
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    ttl: Option<String>,

    /// How long it lives at most, renewals included
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    explicit_max_ttl: Option<String>,

    /// How often it must be renewed to live on
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    period: Option<String>,

    /// Whether it can be renewed
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    renewable: bool,

    /// Do not let it end with the caller's token
    #[arg(long)]
    orphan: bool,

    /// Leave the policy `default` out
    #[arg(long)]
    no_default_policy: bool,

    /// How often it can be used; 0 is without limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    use_limit: u64,

    /// service (the default) or batch
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,

    /// A name that logs show
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,

    /// A note on the token, as NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    metadata: Vec<String>,

    /// The token role whose settings apply
    #[arg(long, value_name = "NAME")]
    role: Option<String>,

    /// The name of the entity's alias, where the role allows it
    #[arg(long, value_name = "NAME")]
    entity_alias: Option<String>,

    /// The token itself, instead of a random one (root only; it stays in the shell's history)
    #[arg(long, value_name = "TOKEN")]
    id: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let path = match &self.role {
            Some(role) => format!("auth/token/create/{role}"),
            None if self.orphan => "auth/token/create-orphan".to_owned(),
            None => "auth/token/create".to_owned(),
        };
        let answer = session.write("creating token", &path, self.body()?).await?;
        match answer {
            Some(answer) => session.terminal.answer(&answer),
            None => Err(Failure::local("Error creating token: the reply is empty")),
        }
    }

    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        if !self.policy.is_empty() {
            set("policies", self.policy.iter().flat_map(|name| name.split(',')).map(str::trim).collect());
        }
        let texts = [
            ("ttl", &self.ttl),
            ("explicit_max_ttl", &self.explicit_max_ttl),
            ("period", &self.period),
            ("type", &self.kind),
            ("display_name", &self.display_name),
            ("entity_alias", &self.entity_alias),
            ("id", &self.id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                set(name, text.as_str().into());
            }
        }
        set("renewable", self.renewable.into());
        set("no_default_policy", self.no_default_policy.into());
        if self.orphan {
            set("no_parent", true.into());
        }
        if self.use_limit > 0 {
            set("num_uses", self.use_limit.into());
        }
        if !self.metadata.is_empty() {
            set("meta", input::pairs(&self.metadata)?.into());
        }
        Ok(body)
    }
}
