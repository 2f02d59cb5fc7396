//! Vault's spelling of flags, made into the usual one before the arguments are read.
//!
//! Vault takes long flags with one dash (`-format=json`, `-format json`) and truth values with a value
//! (`-tls-skip-verify=false`). The command tree says which flags exist and which take a value, so that a value that
//! begins with a dash stays a value.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Rewrites `args` (without the program's name) for `root`, which must be built. Arguments after `--`, or after the
/// first word of a command that another program gets, are left alone.
pub(crate) fn normalise(root: &Command, args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut out = Vec::with_capacity(args.len());
    let mut command = root;
    let mut args = args.into_iter();
    while let Some(raw) = args.next() {
        let Some(text) = raw.to_str() else {
            out.push(raw);
            continue;
        };
        if text == "--" {
            out.push(raw);
            break;
        }
        let dashes = text.bytes().take_while(|byte| *byte == b'-').count();
        let bare = text.get(dashes..).unwrap_or_default();
        if dashes == 0 || dashes > 2 || bare.is_empty() {
            match command.find_subcommand(text) {
                Some(found) => command = found,
                None if hands_on(command) => {
                    out.push(raw);
                    break;
                }
                None => {}
            }
            out.push(raw);
            continue;
        }
        let (name, value) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
        match find(command, name) {
            Some(flag) if flag.get_action().takes_values() => {
                let optional = flag.get_num_args().is_some_and(|range| range.min_values() == 0);
                match value {
                    Some(value) => out.push(format!("--{name}={value}").into()),
                    None if optional => out.push(format!("--{name}").into()),
                    None => {
                        let mut joined = OsString::from(format!("--{name}"));
                        if let Some(next) = args.next() {
                            joined.push("=");
                            joined.push(next);
                        }
                        out.push(joined);
                    }
                }
            }
            Some(_) => match value.map(truth) {
                None | Some(Some(true)) => out.push(format!("--{name}").into()),
                Some(Some(false)) => {}
                Some(None) => {
                    return Err(format!(
                        "invalid value {:?} for flag -{name}: use true or false",
                        value.unwrap_or_default()
                    ));
                }
            },
            // A short flag, or one that does not exist: the parser says what it thinks.
            None if dashes == 1 && bare.chars().count() > 1 => out.push(format!("--{bare}").into()),
            None => out.push(raw),
        }
    }
    out.extend(args);
    Ok(out)
}

/// Whether the first word of the command begins another program's arguments.
fn hands_on(command: &Command) -> bool {
    command.get_positionals().next().is_some_and(Arg::is_trailing_var_arg_set)
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|flag| {
        flag.get_long() == Some(name) || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> String {
        let mut root = crate::cli::command("strongroom");
        root.build();
        let args = line.split(' ').map(OsString::from).collect();
        match normalise(&root, args) {
            Ok(args) => args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let cases = [
            ("read -format=json secret/x", "read --format=json secret/x"),
            ("read -format json secret/x", "read --format=json secret/x"),
            ("read --format json secret/x", "read --format=json secret/x"),
            ("-address http://x kv get -mount secret a", "--address=http://x kv get --mount=secret a"),
            ("kv get -mount=secret -field=a=b x", "kv get --mount=secret --field=a=b x"),
            ("write -f x", "write --f x"),
            ("write -force x k=v", "write --force x k=v"),
            ("write x -", "write x -"),
            ("write x k=-v --", "write x k=-v --"),
            ("read -h", "read -h"),
            ("read -help", "read --help"),
            ("-version", "--version"),
            ("kv put -cas -1 x k=v", "kv put --cas=-1 x k=v"),
            ("status -tls-skip-verify=true", "status --tls-skip-verify"),
            ("status -tls-skip-verify=false", "status"),
            ("status -tls-skip-verify -format=json", "status --tls-skip-verify --format=json"),
            ("token create -renewable=false -ttl 1h", "token create --renewable=false --ttl=1h"),
            ("token create -renewable -ttl=1h", "token create --renewable --ttl=1h"),
            ("read -unknown x", "read --unknown x"),
            ("read -- -x", "read -- -x"),
            (
                "status -tls-skip-verify=maybe",
                "error: invalid value \"maybe\" for flag -tls-skip-verify: use true or false",
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(run(given), wanted, "{given}");
        }
    }

    #[test]
    fn arguments_that_are_no_text_pass() {
        use std::os::unix::ffi::OsStringExt;
        let mut root = crate::cli::command("strongroom");
        root.build();
        let odd = OsString::from_vec(vec![b'-', 0xff]);
        assert_eq!(normalise(&root, vec![odd.clone()]).unwrap(), [odd]);
    }
}
