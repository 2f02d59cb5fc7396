//! `{{identity.…}}` in the paths of policies, and the subject that gives the values.

use std::collections::BTreeMap;

/// Who holds a token, as far as policies may speak of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The id of the entity.
    pub id: String,
    /// The name of the entity.
    pub name: String,
    /// The metadata of the entity.
    pub metadata: BTreeMap<String, String>,
    /// The aliases of the entity, by the accessor of the auth mount.
    pub aliases: BTreeMap<String, SubjectAlias>,
    /// All groups of the entity, direct and inherited.
    pub groups: Vec<SubjectGroup>,
}

/// What an auth method calls the entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectAlias {
    /// The id of the alias.
    pub id: String,
    /// The name of the alias.
    pub name: String,
    /// What the auth method says of it.
    pub metadata: BTreeMap<String, String>,
    /// What operators say of it.
    pub custom_metadata: BTreeMap<String, String>,
}

/// A group that the entity belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectGroup {
    /// The id of the group.
    pub id: String,
    /// The name of the group.
    pub name: String,
    /// The metadata of the group.
    pub metadata: BTreeMap<String, String>,
}

impl Subject {
    /// The value of a directive such as `identity.entity.name`; nothing if there is none or it is empty.
    fn value(&self, directive: &str) -> Option<&str> {
        let value = match Directive::parse(directive)? {
            Directive::Entity(part) => part.of(&self.id, &self.name, &self.metadata, None),
            Directive::Alias(accessor, part) => {
                let alias = self.aliases.get(accessor)?;
                part.of(&alias.id, &alias.name, &alias.metadata, Some(&alias.custom_metadata))
            }
            Directive::GroupById(id, part) => part.of_group(self.groups.iter().find(|group| group.id == id)?),
            Directive::GroupByName(name, part) => part.of_group(self.groups.iter().find(|group| group.name == name)?),
        };
        value.filter(|value| !value.is_empty())
    }
}

/// Characters that would let a value reach beyond the one segment it was meant for.
const WIDENING: [char; 3] = ['*', '+', '/'];

/// A path with directives in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Directive(String),
    Text(String),
}

impl Template {
    /// Splits a path at its directives; nothing if it has none.
    pub(crate) fn parse(path: &str) -> Result<Option<Self>, &'static str> {
        const UNBALANCED: &str = "a template must be opened with '{{' and closed with '}}'";
        let (first, mut rest) = match path.split_once("{{") {
            Some(halves) => halves,
            None if path.contains("}}") => return Err(UNBALANCED),
            None => return Ok(None),
        };
        let mut parts = vec![Part::Text(first.to_owned())];
        if first.contains("}}") {
            return Err(UNBALANCED);
        }
        loop {
            let (directive, after) = rest.split_once("}}").ok_or(UNBALANCED)?;
            let (text, next) = after.split_once("{{").map_or((after, None), |(text, next)| (text, Some(next)));
            if directive.contains("{{") || text.contains("}}") {
                return Err(UNBALANCED);
            }
            parts.push(Part::Directive(directive.trim().to_owned()));
            parts.push(Part::Text(text.to_owned()));
            match next {
                Some(next) => rest = next,
                None => return Ok(Some(Self(parts))),
            }
        }
    }

    /// The path for this subject; nothing if a value is missing, empty or widening.
    pub(crate) fn resolve(&self, subject: &Subject) -> Option<String> {
        let mut path = String::new();
        for part in &self.0 {
            path.push_str(match part {
                Part::Text(text) => text,
                Part::Directive(directive) => subject.value(directive).filter(|value| !value.contains(WIDENING))?,
            });
        }
        Some(path)
    }

    /// The directives that no subject can have a value for.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Directive(directive) if Directive::parse(directive).is_none() => Some(directive.as_str()),
            _ => None,
        })
    }
}

/// What stands between the braces.
#[derive(Clone, Copy, Debug)]
enum Directive<'a> {
    Alias(&'a str, Field<'a>),
    Entity(Field<'a>),
    GroupById(&'a str, Field<'a>),
    GroupByName(&'a str, Field<'a>),
}

impl<'a> Directive<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix("identity.")?;
        if let Some(text) = text.strip_prefix("groups.") {
            let (by, text) = text.split_once('.')?;
            let (which, field) = text.split_once('.')?;
            let field = Field::parse(field).filter(|field| !matches!(field, Field::CustomMetadata(_)))?;
            return match by {
                "ids" => Some(Self::GroupById(which, field)),
                "names" => Some(Self::GroupByName(which, field)),
                _ => None,
            };
        }
        let text = text.strip_prefix("entity.")?;
        if let Some(text) = text.strip_prefix("aliases.") {
            let (accessor, field) = text.split_once('.')?;
            return Field::parse(field).map(|field| Self::Alias(accessor, field));
        }
        Field::parse(text).filter(|field| !matches!(field, Field::CustomMetadata(_))).map(Self::Entity)
    }
}

#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    CustomMetadata(&'a str),
    Id,
    Metadata(&'a str),
    Name,
}

impl<'a> Field<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            _ => {
                let metadata = text.strip_prefix("metadata.").map(Self::Metadata);
                metadata.or_else(|| text.strip_prefix("custom_metadata.").map(Self::CustomMetadata))
            }
        }
    }

    fn of<'v>(
        self,
        id: &'v str,
        name: &'v str,
        metadata: &'v BTreeMap<String, String>,
        custom: Option<&'v BTreeMap<String, String>>,
    ) -> Option<&'v str> {
        match self {
            Self::CustomMetadata(key) => custom?.get(key).map(String::as_str),
            Self::Id => Some(id),
            Self::Metadata(key) => metadata.get(key).map(String::as_str),
            Self::Name => Some(name),
        }
    }

    fn of_group(self, group: &SubjectGroup) -> Option<&str> {
        self.of(&group.id, &group.name, &group.metadata, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn subject() -> Subject {
        let alias = SubjectAlias {
            id: "al-1".into(),
            name: "svc".into(),
            metadata: pairs([("role", "web"), ("service.account", "api")]),
            custom_metadata: pairs([("tier", "gold")]),
        };
        let group =
            SubjectGroup { id: "gr-1".into(), name: "team".into(), metadata: pairs([("cost", "42"), ("none", "")]) };
        Subject {
            id: "en-1".into(),
            name: "bob".into(),
            metadata: pairs([("org", "acme"), ("wide", "a*"), ("one", "+"), ("deep", "a/b"), ("dots", "a.b")]),
            aliases: [("auth_jwt_1".to_owned(), alias)].into(),
            groups: vec![group],
        }
    }

    #[test]
    fn directives_take_their_values_from_the_subject() {
        let table = [
            ("a/{{identity.entity.id}}", Some("a/en-1")),
            ("a/{{ identity.entity.name }}/*", Some("a/bob/*")),
            ("a/{{identity.entity.metadata.org}}-{{identity.entity.name}}/b", Some("a/acme-bob/b")),
            ("{{identity.entity.metadata.dots}}", Some("a.b")),
            ("{{identity.entity.aliases.auth_jwt_1.id}}", Some("al-1")),
            ("{{identity.entity.aliases.auth_jwt_1.name}}", Some("svc")),
            ("{{identity.entity.aliases.auth_jwt_1.metadata.role}}", Some("web")),
            ("{{identity.entity.aliases.auth_jwt_1.metadata.service.account}}", Some("api")),
            ("{{identity.entity.aliases.auth_jwt_1.custom_metadata.tier}}", Some("gold")),
            ("{{identity.groups.ids.gr-1.name}}", Some("team")),
            ("{{identity.groups.names.team.id}}", Some("gr-1")),
            ("{{identity.groups.names.team.metadata.cost}}", Some("42")),
            // No such value.
            ("{{identity.entity.metadata.missing}}", None),
            ("{{identity.entity.aliases.other.id}}", None),
            ("{{identity.groups.names.other.id}}", None),
            ("{{identity.groups.names.team.metadata.none}}", None),
            // No such directive.
            ("{{identity.entity.custom_metadata.tier}}", None),
            ("{{identity.groups.names.team.custom_metadata.x}}", None),
            ("{{identity.entity}}", None),
            ("{{}}", None),
            ("{{time.now}}", None),
            // Values that would widen the path.
            ("{{identity.entity.metadata.wide}}", None),
            ("{{identity.entity.metadata.one}}", None),
            ("{{identity.entity.metadata.deep}}", None),
        ];
        for (path, expected) in table {
            let template = Template::parse(path).unwrap().unwrap();
            assert_eq!(template.resolve(&subject()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn braces_must_balance() {
        assert_eq!(Template::parse("a/b{c}/d"), Ok(None));
        for path in ["{{a", "a}}", "{{a}}}}", "}}{{a}}", "{{a{{b}}", "{{a}}/{{b"] {
            assert!(Template::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn directives_that_can_never_resolve_are_known() {
        let template = Template::parse("{{identity.entity.id}}/{{entity.name}}").unwrap().unwrap();
        assert_eq!(template.unknown().collect::<Vec<_>>(), ["entity.name"]);
    }
}
