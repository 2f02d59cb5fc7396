//! How replies are printed: as Vault's command line prints them, byte for byte where scripts may look.

pub(crate) mod answer;
pub(crate) mod json;
pub(crate) mod table;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// The reply's body as it came.
    Raw,
    /// For people; `pretty` is the same.
    Table,
    Yaml,
}

impl Format {
    /// Reads the value of `-format` or of the environment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            "" | "pretty" | "table" => Ok(Self::Table),
            "yaml" | "yml" => Ok(Self::Yaml),
            _ => Err(format!("Invalid output format: {text} (use table, json, yaml, pretty or raw)")),
        }
    }

    /// A value in this form; tables have none for a single value.
    pub(crate) fn structured(self, value: &json::Json) -> Option<String> {
        match self {
            Self::Json => Some(value.pretty()),
            Self::Yaml => serde_yaml_ng::to_string(&value.clone().sorted())
                .ok()
                .map(|text| text.trim_end_matches('\n').to_owned()),
            Self::Raw | Self::Table => None,
        }
    }
}
