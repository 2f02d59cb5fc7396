//! The supervisor without a server: what it delivers comes from the command line. The tests drive it.
//!
//! `supervise [--env NAME=VALUE]… [--file NAME=VALUE]… [--path PATH=VALUE]… [--memfd NAME=VALUE]… [--mask | --no-mask]
//! [--grace MS] [--area auto|private|directory] [--control FIFO] [--refuse] -- COMMAND…`
//!
//! Lines in the FIFO: `replace NAME=VALUE`, `deliver NAME=VALUE`, `signal N`, `hook COMMAND`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use agent::{
    deliver::{Environment, File, Place, Policy},
    supervise::{Area, Event, Exit, Handle, Masking, Spec, front, guard},
};
use secret::SecretBytes;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "guardian") {
        let options = Options::parse(&args[1..]);
        return guard(move |handle| options.session(handle));
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sr-guardian").arg("guardian").args(args);
    match front(&mut command) {
        Ok(exit) => exit.repeat(),
        Err(error) => {
            eprintln!("supervise: {error}");
            ExitCode::from(125)
        }
    }
}

#[derive(Default)]
struct Options {
    env: Vec<(String, String)>,
    files: Vec<File>,
    masking: Masking,
    grace: Option<Duration>,
    area: Area,
    control: Option<PathBuf>,
    refuse: bool,
    command: Vec<OsString>,
}

impl Options {
    fn parse(args: &[OsString]) -> Self {
        let mut options = Self { masking: Masking::where_no_terminal(), ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().expect("a value").to_str().expect("UTF-8").to_owned();
            match arg.to_str().expect("UTF-8") {
                "--" => break,
                "--env" => options.env.push(pair(&value())),
                "--file" => options.files.push(file(&value(), |_| Place::Area)),
                "--memfd" => options.files.push(file(&value(), |_| Place::Memfd)),
                "--path" => {
                    options.files.push(file(&value(), |path| Place::Path { path: path.into(), replace: false }));
                }
                "--mask" => options.masking = Masking::everywhere(),
                "--no-mask" => options.masking = Masking::default(),
                "--grace" => options.grace = Some(Duration::from_millis(value().parse().expect("milliseconds"))),
                "--area" => {
                    options.area = match value().as_str() {
                        "private" => Area::Private,
                        "directory" => Area::Directory,
                        _ => Area::Auto,
                    }
                }
                "--control" => options.control = Some(value().into()),
                "--refuse" => options.refuse = true,
                other => panic!("unknown option {other}"),
            }
        }
        options.command = args.cloned().collect();
        options
    }

    fn spec(&self) -> Spec {
        let mut env = Environment::inherit(std::env::vars_os(), &Policy::default());
        for (name, value) in &self.env {
            env.set_secret(name, Arc::new(SecretBytes::new(value.clone().into_bytes()))).expect("a usable variable");
        }
        let (program, args) = self.command.split_first().expect("a command");
        let mut spec = Spec::new(program, args.to_vec(), env);
        spec.files = self.files.clone();
        spec.masking = self.masking;
        spec.area = self.area;
        spec.stop_grace = self.grace.unwrap_or(spec.stop_grace);
        spec
    }

    fn session(mut self, mut handle: Handle) {
        if self.refuse {
            return handle.refuse(Exit::NOT_STARTED, "kv/app: no such secret".to_owned());
        }
        handle.start(self.spec());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        if let Some(control) = self.control.take() {
            let fifo = std::fs::OpenOptions::new().read(true).write(true).open(control).expect("the control fifo");
            let (lines, mut received) = tokio::sync::mpsc::unbounded_channel();
            std::thread::spawn(move || {
                for line in BufReader::new(fifo).lines().map_while(Result::ok) {
                    let _ = lines.send(line);
                }
            });
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        event = handle.event() => if matches!(event, Some(Event::Ended(_) | Event::Interrupted) | None) { return },
                        Some(line) = received.recv() => self.obey(&handle, &line),
                    }
                }
            });
        } else {
            runtime.block_on(async {
                while !matches!(handle.event().await, Some(Event::Ended(_) | Event::Interrupted) | None) {}
            });
        }
    }

    fn obey(&mut self, handle: &Handle, line: &str) {
        let (verb, rest) = line.split_once(' ').expect("a verb and its value");
        match verb {
            "replace" => {
                self.env = vec![pair(rest)];
                handle.replace(self.spec());
            }
            "deliver" => {
                self.files = vec![file(rest, |_| Place::Area)];
                handle.deliver(self.files.clone());
            }
            "signal" => handle.signal(rest.parse().expect("a signal")),
            "hook" => handle.hook(vec!["/bin/sh".into(), "-c".into(), rest.into()]),
            other => panic!("unknown verb {other}"),
        }
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').expect("NAME=VALUE");
    (name.to_owned(), value.to_owned())
}

fn file(text: &str, place: impl FnOnce(&str) -> Place) -> File {
    let (name, value) = pair(text);
    File {
        place: place(&name),
        variable: Some(name.rsplit('/').next().expect("a name").to_uppercase().replace('.', "_")),
        name: name.rsplit('/').next().expect("a name").to_owned(),
        mode: 0o400,
        content: Arc::new(SecretBytes::new(value.into_bytes())),
    }
}
