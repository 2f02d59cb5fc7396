use std::{io::Write as _, path::Path};

use super::format::format;
use crate::{
    failure::{DONE, Failure, Outcome},
    input,
    session::Session,
};

/// Lay a policy file out in the usual way
///
/// Comments and the order of rules stay; only blanks change. A file that is no HCL is left alone.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Lay a file out:
        strongroom policy fmt app.hcl

    As a filter:
        strongroom policy fmt - < app.hcl")]
pub(crate) struct Fmt {
    /// The file; - reads standard input and writes standard output
    file: String,
}

impl Fmt {
    pub(crate) fn run(self, session: &Session) -> Outcome {
        let stdin = self.file == "-";
        let text = if stdin { input::read_stdin()? } else { input::read_file(&self.file)? };
        if let Err(error) = hcl1::parse(&text) {
            return Err(Failure::local(format!("Error parsing {}: line {}: {}", self.file, error.line, error.what)));
        }
        let laid_out = format(&text);
        if stdin {
            session.terminal.print(laid_out.trim_end_matches('\n'))?;
            return Ok(DONE);
        }
        if laid_out != text {
            replace(Path::new(&self.file), &laid_out)?;
        }
        session.success(&format!("Formatted policy: {}", self.file))
    }
}

/// Replaces the file in one step, so that an interruption leaves the old one.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::local(format!("cannot write {}: {error}", path.display()));
    // A link is followed, so that it stays one.
    let path = path.canonicalize().map_err(failed)?;
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let permissions = std::fs::metadata(&path).map_err(failed)?.permissions();
    let written = std::fs::File::create_new(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::set_permissions(&fresh, permissions))
        .and_then(|()| std::fs::rename(&fresh, &path));
    written.map_err(|error| {
        // What remains of the attempt is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&fresh);
        failed(error)
    })
}
