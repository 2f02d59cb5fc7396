//! A private PostgreSQL: its own data, its own port on the loopback, TLS with its own certificate authority.
//!
//! A watchdog process holds one end of a pipe whose other end is the test. When the test ends (also by `kill -9`, also
//! when the value is never dropped because it is a static) the watchdog stops the server and removes its files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a part that cannot start fails the test that wants it")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

/// A running PostgreSQL, stopped and removed when dropped.
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    superuser_password: String,
    ca_pem: String,
    watchdog: Option<Child>,
}

impl Postgres {
    /// Makes a new cluster and starts it. It does not wait for the disk, which makes it quick; what it acknowledged
    /// survives [`Postgres::stop`] all the same.
    pub fn start() -> Self {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// As [`Postgres::start`], with durability on, for measurements.
    pub fn start_durable() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[&str]) -> Self {
        let bin = find_binaries();
        let dir = make_directory();
        let port = spare_port();
        let superuser_password = crypto::random::base62(24).to_string();
        let mut postgres = Self { bin, dir, port, superuser_password, ca_pem: String::new(), watchdog: None };
        postgres.watchdog = Some(postgres.watch());
        postgres.make_cluster(settings);
        postgres.start_again();
        postgres
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds everything: `data`, the unix socket, `log`.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// A `postgresql://` URL with the superuser's name and password, for the database `postgres`.
    pub fn superuser_url(&self) -> String {
        self.url("postgres", &self.superuser_password, "postgres")
    }

    /// A `postgresql://` URL for this server. The name and the password must not need escaping.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Whether this server was built with TLS.
    pub fn has_tls(&self) -> bool {
        self.psql("SHOW ssl") == "on"
    }

    /// The certificate of the authority that signed the server's certificate (for `localhost` and `127.0.0.1`), PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Makes a login that may create roles and is no superuser, as an administrator would for a secrets manager.
    pub fn admin(&self, name: &str, password: &str) {
        self.psql(&format!("CREATE ROLE \"{name}\" LOGIN CREATEROLE PASSWORD '{password}'"));
    }

    /// Runs SQL as the superuser in the database `postgres` and gives what it printed: a line per row, columns
    /// separated by `|`, nothing else. Fails the test if the SQL fails.
    pub fn psql(&self, sql: &str) -> String {
        let answer = self.try_psql("postgres", &self.superuser_password, "postgres", sql);
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL as anybody in any database; what `psql` printed on failure as the error.
    pub fn try_psql(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", user, "-d", database])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "disable")
            .env("PGCONNECT_TIMEOUT", "60")
            .output()
            .expect("psql starts");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
        }
    }

    /// Whether a role of this name exists.
    pub fn has_role(&self, name: &str) -> bool {
        let name = name.replace('\'', "''");
        self.psql(&format!("SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = '{name}'")) == "1"
    }

    /// Stops the server at once, as a failure would: open connections break.
    pub fn stop(&self) {
        expect_success("pg_ctl stop", &self.control(&["-m", "immediate", "stop"]));
    }

    /// Starts the stopped server on the same port with the same data.
    pub fn start_again(&self) {
        let log = self.dir.join("log");
        let output = self.control(&["-l", &log.to_string_lossy(), "-t", "300", "start"]);
        if !output.status.success() {
            let log = fs::read_to_string(log).unwrap_or_default();
            panic!("pg_ctl start failed:\n{}{log}", String::from_utf8_lossy(&output.stdout));
        }
    }

    /// Stops and starts the server.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    fn make_cluster(&mut self, settings: &[&str]) {
        let data = self.dir.join("data");
        let secret = self.dir.join("superuser");
        write_private(&secret, &self.superuser_password);
        let output = self
            .command("initdb")
            .args(["-D", &data.to_string_lossy(), "-U", "postgres", "--auth=scram-sha-256", "-E", "UTF8"])
            .args(["--no-sync", "--locale=C", "--no-instructions", &format!("--pwfile={}", secret.display())])
            .output();
        expect_success("initdb", &output.expect("initdb starts"));
        self.ca_pem = make_certificates(&data);
        let mut lines = vec![
            format!("port = {}", self.port),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{}'", self.dir.display()),
            format!("ssl = {}", if self.knows_tls(&data) { "on" } else { "off" }),
            "max_connections = 100".to_owned(),
            "shared_buffers = '32MB'".to_owned(),
            "log_statement = 'all'".to_owned(),
        ];
        lines.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(conf, "{}", lines.join("\n")).unwrap();
    }

    /// Whether the server was built with TLS. That of Debian is, that of some other packages is not.
    fn knows_tls(&self, data: &Path) -> bool {
        let output = self.command("postgres").args(["-D", &data.to_string_lossy(), "-C", "ssl_library"]).output();
        !output.expect("postgres starts").stdout.trim_ascii().is_empty()
    }

    fn control(&self, args: &[&str]) -> Output {
        let data = self.dir.join("data");
        let mut command = self.command("pg_ctl");
        // The server inherits the output: a pipe would stay open for as long as it runs.
        let quiet = self.dir.join("control");
        let file = fs::File::create(&quiet).unwrap();
        command.args(["-D", &data.to_string_lossy(), "-w"]).args(args);
        let status = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).status().expect("pg_ctl starts");
        Output { status, stdout: fs::read(&quiet).unwrap_or_default(), stderr: Vec::new() }
    }

    /// A PostgreSQL program. They refuse to run as root, so root becomes the user `postgres` first.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match postgres_account() {
            None => Command::new(program),
            Some(_) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(&self.dir).env("LC_ALL", "C").env_remove("PGDATA");
        command
    }

    fn watch(&self) -> Child {
        let mut stop = self.command("pg_ctl");
        let mut script = String::from("cat >/dev/null; ");
        for part in std::iter::once(stop.get_program()).chain(stop.get_args()) {
            script.push_str(&format!("'{}' ", part.to_string_lossy()));
        }
        let dir = self.dir.display();
        script.push_str(&format!("-D '{dir}/data' -m immediate -w stop >/dev/null 2>&1; cd /; rm -rf -- '{dir}'"));
        stop = Command::new("sh");
        // A group of its own: an interrupt at the terminal must not end it before it has cleaned up.
        stop.args(["-c", &script]).process_group(0);
        stop.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        stop.spawn().expect("sh starts")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
        }
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("port", &self.port).finish_non_exhaustive()
    }
}

/// A TCP port on the loopback, for one server of this test and for nobody else, however often that is stopped and started.
///
/// A port that is merely free now may be the source of somebody's connection a moment later. So it stays bound for as long as
/// the test runs, by a socket that never listens and lets a server bind it beside itself, as servers do (`SO_REUSEADDR`).
/// Until one listens, who connects is refused.
pub fn spare_port() -> u16 {
    static HELD: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    net::sockopt::set_socket_reuseaddr(&socket, true).expect("the option is known");
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let bound = net::getsockname(&socket).expect("a bound address");
    HELD.lock().expect("nobody fails here").push(socket);
    SocketAddrV4::try_from(bound).expect("an address of this family").port()
}

/// The directory of the PostgreSQL programs: that of `initdb` in PATH, else the newest below `/usr/lib/postgresql`. So
/// another version is tested by putting its programs first in PATH.
fn find_binaries() -> PathBuf {
    let complete = |dir: &Path| ["initdb", "pg_ctl", "postgres", "psql"].iter().all(|name| dir.join(name).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| complete(dir)).collect();
    if found.is_empty() {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        found = versions.map(|entry| entry.path().join("bin")).filter(|dir| complete(dir)).collect();
        let version = |dir: &PathBuf| dir.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
        found.sort_by_key(|dir| std::cmp::Reverse(version(dir)));
    }
    found.into_iter().next().expect("PostgreSQL is not installed: apt-get install postgresql")
}

fn make_directory() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("strongroom-postgres-").tempdir().expect("a temporary directory").keep();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    give(&dir);
    dir
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    give(path);
}

/// Makes the account that runs PostgreSQL the owner.
fn give(path: &Path) {
    if let Some((uid, gid)) = postgres_account() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// The ids of the user `postgres`, if this process is root; `None` if it can run PostgreSQL itself.
fn postgres_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut users = String::new();
    fs::File::open("/etc/passwd").unwrap().read_to_string(&mut users).unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user named postgres");
    let mut ids = line.split(':').skip(2).map(|id| id.parse::<u32>().unwrap());
    Some((ids.next().unwrap(), ids.next().unwrap()))
}

/// Writes `server.crt` and `server.key`, and gives the certificate of their authority.
fn make_certificates(data: &Path) -> String {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "Test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate().unwrap();
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let server_key = KeyPair::generate().unwrap();
    let server_cert = server.signed_by(&server_key, &issuer).unwrap();
    write_private(&data.join("server.crt"), &server_cert.pem());
    write_private(&data.join("server.key"), &server_key.serialize_pem());
    authority_cert.pem()
}

fn expect_success(what: &str, output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what} failed:\n{}{}", text(&output.stdout), text(&output.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_for_one_server_and_refuses_until_that_listens() {
        use std::net::{TcpListener, TcpStream};
        let port = spare_port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        for _ in 0..2 {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            TcpStream::connect(("127.0.0.1", port)).unwrap();
            assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
            drop(listener);
        }
        assert!((0..200).all(|_| spare_port() != port));
    }

    #[test]
    fn it_starts_answers_fails_and_comes_back() {
        let postgres = Postgres::start();
        postgres.admin("vault admin", "a-password");
        assert!(postgres.has_role("vault admin"));
        assert_eq!(postgres.psql("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = 'vault admin'"), "f|t");
        postgres.stop();
        assert!(postgres.try_psql("vault admin", "a-password", "postgres", "SELECT 1").is_err());
        postgres.start_again();
        assert_eq!(postgres.try_psql("vault admin", "a-password", "postgres", "SELECT 1").unwrap(), "1");
        assert!(postgres.try_psql("vault admin", "another", "postgres", "SELECT 1").is_err());
        assert!(postgres.ca_pem().contains("BEGIN CERTIFICATE"));
        let directory = postgres.directory().to_owned();
        drop(postgres);
        assert!(!directory.exists());
    }
}
