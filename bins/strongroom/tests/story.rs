//! The main job, end to end, through the command line and a real PostgreSQL: an application gets a database user that
//! lives exactly as long as it does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{identity::Issuer, postgres::Postgres, server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

/// A shop in production: everything that its administrator sets up.
struct Shop {
    server: Server,
    postgres: Postgres,
    platform: Issuer,
    handed_over: String,
}

impl Shop {
    fn new() -> Self {
        let postgres = Postgres::start();
        let handed_over = "handed-over-by-a-person".to_owned();
        postgres.admin("strongroom_admin", &handed_over);
        postgres.psql(
            "CREATE ROLE app_rw NOLOGIN; \
             CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL, by_user text DEFAULT current_user); \
             GRANT SELECT, INSERT ON orders TO app_rw; GRANT USAGE ON SEQUENCE orders_id_seq TO app_rw; \
             GRANT app_rw TO strongroom_admin WITH ADMIN OPTION; \
             CREATE ROLE report_a LOGIN PASSWORD 'x'; CREATE ROLE report_b LOGIN PASSWORD 'x'; CREATE ROLE lonely LOGIN PASSWORD 'x'; \
             GRANT report_a, report_b, lonely TO strongroom_admin WITH ADMIN OPTION",
        );
        let shop = Self {
            server: Server::start(PROGRAM),
            postgres,
            platform: Issuer::new("https://platform.example"),
            handed_over,
        };
        shop.set_up();
        shop
    }

    fn set_up(&self) {
        let at = |name: &str| self.folder().join(name).display().to_string();
        let file = |name: &str, text: &str| std::fs::write(self.folder().join(name), text).unwrap();
        self.admin(&["audit", "enable", "file", &format!("file_path={}", at("audit.log"))], "");
        self.admin(&["audit", "enable", "journal"], "");
        self.admin(&["secrets", "enable", "database"], "");
        self.admin(&["secrets", "enable", "-path=kv", "kv-v2"], "");
        self.admin(&["auth", "enable", "jwt"], "");
        file("platform.pem", &self.platform.public_pem());
        self.admin(
            &[
                "write",
                "auth/jwt/config",
                &format!("jwt_validation_pubkeys=@{}", at("platform.pem")),
                "bound_issuer=https://platform.example",
            ],
            "",
        );
        let policy = "path \"database/creds/shop\" { capabilities = [\"read\"] }\n\
             path \"kv/data/prod/shop/*\" { capabilities = [\"read\"] }\n\
             path \"database/static-creds/report\" { capabilities = [\"read\"] }\n";
        file("shop-prod.hcl", policy);
        self.admin(&["policy", "write", "shop-prod", &at("shop-prod.hcl")], "");
        let role = "user_claim=sub bound_audiences=strongroom bound_subject=system:prod:shop token_policies=shop-prod token_ttl=10m";
        let mut write = vec!["write", "auth/jwt/role/shop", "role_type=jwt"];
        write.extend(role.split(' '));
        self.admin(&write, "");
        let url = self.postgres.url("{{username}}", "{{password}}", "postgres");
        self.admin(
            &[
                "write",
                "database/config/shop",
                "plugin_name=postgresql-database-plugin",
                &format!("connection_url={url}"),
                "username=strongroom_admin",
                "allowed_roles=shop,report,lonely",
                "password=-",
            ],
            &self.handed_over,
        );
        self.admin(&["write", "-f", "database/rotate-root/shop"], "");
        self.admin(
            &[
                "write",
                "database/roles/shop",
                "db_name=shop",
                "default_ttl=5m",
                "creation_statements=CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app_rw",
            ],
            "",
        );
        self.admin(&["kv", "put", "-mount=kv", "prod/shop/payment", "api_key=-"], "the-first-api-key");
        file("identity.jwt", &self.platform.token("system:prod:shop", "strongroom"));
        file(
            "strongroom.toml",
            &format!(
                "[login]\nmethod = \"jwt\"\nrole = \"shop\"\njwt_file = \"{}\"\n\n\
                 [env]\nDATABASE_URL = \"sr://database/creds/shop#connection_url\"\nAPI_KEY = \"sr://kv/prod/shop/payment#api_key\"\n\n\
                 [run]\ngrace = \"12s\"\n",
                at("identity.jwt")
            ),
        );
    }

    fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// Runs the command line as the administrator; what it printed.
    fn admin(&self, arguments: &[&str], stdin: &str) -> String {
        let mut command = self.server.command(self.server.root_token(), arguments);
        let output = feed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()), stdin);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn admin_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.insert(1, "-format=json");
        serde_json::from_str(&self.admin(&all, "")).unwrap()
    }

    /// `strongroom run` of a shell script, with nothing but the manifest and the identity token.
    fn run(&self, script: &str) -> Command {
        let config = format!("--config={}", self.folder().join("strongroom.toml").display());
        let mut command = self.server.command("", &["run", &config, "--", "/bin/sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The users that were made and are still there.
    fn users(&self) -> Vec<String> {
        let users = self.postgres.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1");
        users.lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

fn feed(command: &mut Command, stdin: &str) -> Output {
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{} {}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // What nobody has waited for yet is dead all the same.
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z') && !rest.is_empty())
}

/// What a script wrote into a file once it had something to write.
fn written(path: &Path) -> String {
    Server::eventually("the application writes", || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_owned())
    })
}

/// How long the server goes without a sign of life of an application. A busy machine must not be taken for a dead one.
const GRACE: Duration = Duration::from_secs(12);
/// How long a user would live if nobody revoked it.
const LIFE: Duration = Duration::from_secs(300);

const INSERT: &str =
    "psql -X -q -At \"$DATABASE_URL\" -c \"INSERT INTO orders (item) VALUES ('teapot') RETURNING by_user\"";

#[test]
fn an_application_gets_a_user_that_lives_exactly_as_long_as_it_does() {
    let shop = Shop::new();
    // The password that a person knew is dead, and what the server shows has none.
    let dead = shop.postgres.try_psql("strongroom_admin", &shop.handed_over, "postgres", "SELECT 1");
    assert!(dead.is_err_and(|error| error.contains("authentication failed")));
    assert!(!shop.admin(&["read", "database/config/shop"], "").contains(&shop.handed_over));

    // It works with a user of its own, and a second look from outside sees that user.
    let (user, go_on) = (shop.path("user"), shop.path("go-on"));
    let script = format!(
        "{INSERT} > {user}.tmp; mv {user}.tmp {user}; echo key of ${{#API_KEY}}; env | grep -c '^VAULT_TOKEN'; \
         while [ ! -e {go_on} ]; do sleep 0.05; done; exit 7",
        user = user.display(),
        go_on = go_on.display()
    );
    let child = shop.run(&script).spawn().unwrap();
    let name = written(&user);
    assert!(name.starts_with("v-jwt-syst-shop-"), "{name}");
    assert_eq!(shop.users(), std::slice::from_ref(&name));
    assert_eq!(shop.postgres.psql("SELECT by_user FROM orders"), name);
    std::fs::write(&go_on, "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(shop.users(), Vec::<String>::new(), "the user outlives `strongroom run`: {}", shown(&output));
    assert_eq!(output.status.code(), Some(7), "{}", shown(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "key of 17\n0\n");
    let lookup = Wire::new(&shop.server, shop.server.root_token()).list("sys/leases/lookup/database/creds/shop/");
    assert_eq!(lookup.status, 404, "{lookup}");

    // Output that is no terminal does not show what the application got.
    let output = shop.run("echo \"key $API_KEY\"; echo \"url $DATABASE_URL\" >&2").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(
        !shown(&output).contains("the-first-api-key") && !shown(&output).contains("postgresql://v-"),
        "{}",
        shown(&output)
    );

    // Without all of its secrets it does not start, and nothing is left behind.
    let started = shop.path("started");
    let mut command = shop.run(&format!("touch {}", started.display()));
    let output = command.env("OTHER", "sr://kv/prod/shop/none#x").output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", shown(&output));
    let mut command = shop.run(&format!("touch {}", started.display()));
    let output = command.env("OTHER", "sr://kv/test/shop/payment#x").output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", shown(&output));
    std::fs::write(shop.path("identity.jwt"), shop.platform.token("system:test:shop", "strongroom")).unwrap();
    let output = shop.run(&format!("touch {}", started.display())).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", shown(&output));
    std::fs::write(
        shop.path("identity.jwt"),
        Issuer::new("https://platform.example").token("system:prod:shop", "strongroom"),
    )
    .unwrap();
    let output = shop.run(&format!("touch {}", started.display())).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", shown(&output));
    assert!(!started.exists());
    assert_eq!(shop.users(), Vec::<String>::new());
}

/// Starts an application that stays; the process of `strongroom run`, the application's pid, its user.
fn stay(shop: &Shop, name: &str) -> (Child, String, String) {
    let file = shop.path(name);
    let script =
        format!("u=$({INSERT}); echo $$ $u > {file}.tmp; mv {file}.tmp {file}; sleep 1000", file = file.display());
    let child = shop.run(&script).spawn().unwrap();
    let text = written(&file);
    let (pid, user) = text.split_once(' ').unwrap();
    (child, pid.to_owned(), user.to_owned())
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn killed_in_whatever_way_it_leaves_nothing_behind() {
    let shop = Shop::new();
    // The process that was started is killed: the application dies with it, the user within the grace period.
    let (mut run, app, user) = stay(&shop, "first");
    assert!(alive(&app) && shop.postgres.has_role(&user));
    let killed = Instant::now();
    signal(run.id(), "-9");
    run.wait().unwrap();
    Server::eventually("the application dies", || (!alive(&app)).then_some(()));
    Server::eventually("the user is gone", || (!shop.postgres.has_role(&user)).then_some(()));
    assert!(killed.elapsed() < LIFE, "{:?}", killed.elapsed());

    // So is what holds the session with the server: nobody can tell it to revoke.
    let (mut run, app, user) = stay(&shop, "second");
    let [guardian] = children_of(run.id())[..] else { panic!("{:?}", children_of(run.id())) };
    let killed = Instant::now();
    signal(guardian, "-9");
    Server::eventually("the application dies", || (!alive(&app)).then_some(()));
    assert!(!run.wait().unwrap().success());
    Server::eventually("the user is gone", || (!shop.postgres.has_role(&user)).then_some(()));
    assert!(killed.elapsed() < LIFE, "{:?}", killed.elapsed());

    // Asked to end, it ends as the application does; the user is gone before that.
    let (mut run, app, user) = stay(&shop, "third");
    signal(run.id(), "-TERM");
    let status = run.wait().unwrap();
    assert!(!shop.postgres.has_role(&user) && !alive(&app));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}");
}

#[test]
fn the_server_is_killed_while_an_application_runs() {
    let mut shop = Shop::new();
    let (mut run, app, user) = stay(&shop, "app");
    shop.server.kill();
    shop.server.launch();
    shop.server.unseal();
    // The application goes on with its user: its supervisor attaches again.
    let url = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{user}'");
    let since = Instant::now();
    while since.elapsed() < GRACE + Duration::from_secs(4) {
        assert!(alive(&app), "the application died with the server");
        assert_eq!(shop.postgres.psql(&url), "1", "the user went with the server");
        std::thread::sleep(Duration::from_millis(200));
    }
    signal(run.id(), "-9");
    run.wait().unwrap();
    Server::eventually("the user is gone", || (!shop.postgres.has_role(&user)).then_some(()));

    // Killed both at once, server and supervisor: the user goes when the server is back.
    let (mut run, app, user) = stay(&shop, "both");
    shop.server.kill();
    signal(run.id(), "-9");
    run.wait().unwrap();
    Server::eventually("the application dies", || (!alive(&app)).then_some(()));
    assert!(shop.postgres.has_role(&user));
    shop.server.launch();
    shop.server.unseal();
    let back = Instant::now();
    Server::eventually("the user is gone", || (!shop.postgres.has_role(&user)).then_some(()));
    assert!(back.elapsed() < LIFE, "{:?}", back.elapsed());
}

#[test]
fn what_must_live_long_is_rotated_by_the_server_and_the_previous_value_still_works() {
    let shop = Shop::new();
    shop.admin(
        &[
            "write",
            "database/static-roles/report",
            "db_name=shop",
            "username=report_a",
            "paired_username=report_b",
            "rotation_period=5s",
        ],
        "",
    );
    shop.admin(&["write", "kv/rotation/prod/shop/payment", "field=api_key", "period=5s", "overlap=1m"], "");
    let report = || {
        let data = shop.admin_json(&["read", "database/static-creds/report"])["data"].clone();
        (data["username"].as_str().unwrap().to_owned(), data["password"].as_str().unwrap().to_owned())
    };
    let key = || shop.admin(&["kv", "get", "-mount=kv", "-field=api_key", "prod/shop/payment"], "").trim().to_owned();
    assert!(
        shop.postgres.try_psql("report_a", "x", "postgres", "SELECT 1").is_err(),
        "the first password is replaced at once"
    );
    // The next rotation is a few seconds away: on a busy machine it may come while the last one is looked at.
    let root = Wire::new(&shop.server, shop.server.root_token());
    loop {
        let (old_user, old_password) = report();
        let (new_user, new_password) =
            Server::eventually("the account rotates", || Some(report()).filter(|(_, new)| *new != old_password));
        let seen = [(&old_user, &old_password), (&new_user, &new_password)]
            .map(|(user, password)| shop.postgres.try_psql(user, password, "postgres", "SELECT current_user"));
        if report().1 == new_password {
            assert!(seen.iter().all(Result::is_ok), "{seen:?}");
            assert_ne!(old_user, new_user);
            break;
        }
    }
    loop {
        let old = key();
        let new = Server::eventually("the key rotates", || Some(key()).filter(|new| *new != old));
        let previous = root.get("kv/data/prod/shop/payment?label=previous").data()["data"]["api_key"].clone();
        if key() == new {
            assert_eq!(previous, old.as_str());
            break;
        }
    }
    let plans = root.get("sys/rotation").data()["rotations"].as_array().unwrap().clone();
    for path in ["database/static/report", "kv/"] {
        let plan = plans
            .iter()
            .find(|plan| plan["path"].as_str().unwrap().starts_with(path))
            .unwrap_or_else(|| panic!("{path}: {plans:?}"));
        assert!(
            plan["last_rotation"].is_string() && plan["next_rotation"].is_string() && plan["last_error"].is_null(),
            "{plan}"
        );
    }
    // By hand, and for an account without a pair.
    shop.admin(
        &["write", "database/static-roles/lonely", "db_name=shop", "username=lonely", "rotation_period=24h"],
        "",
    );
    let login = |role: &str| root.get(&format!("database/static-creds/{role}")).data();
    let before = login("lonely");
    shop.admin(&["write", "-f", "database/rotate-role/lonely"], "");
    let after = login("lonely");
    assert_ne!(before["password"], after["password"]);
    assert!(shop.postgres.try_psql("lonely", after["password"].as_str().unwrap(), "postgres", "SELECT 1").is_ok());
    assert!(shop.postgres.try_psql("lonely", before["password"].as_str().unwrap(), "postgres", "SELECT 1").is_err());

    // A rotation that fails leaves the old password working, and shows.
    shop.postgres.stop();
    root.post_nothing("database/rotate-role/lonely").fails(500);
    shop.postgres.start_again();
    let kept = Server::eventually("the account can be read", || {
        Some(root.get("database/static-creds/lonely")).filter(|reply| reply.status == 200)
    });
    let password = kept.data()["password"].as_str().unwrap().to_owned();
    assert!(shop.postgres.try_psql("lonely", &password, "postgres", "SELECT 1").is_ok());
    // The server's own account rotates again, and goes on working.
    shop.admin(&["write", "-f", "database/rotate-root/shop"], "");
    shop.admin(&["read", "database/creds/shop"], "");
}

#[test]
fn the_journal_answers_who_had_which_user_and_by_which_rule() {
    let mut shop = Shop::new();
    let script = format!("{INSERT} > {}", shop.path("user").display());
    let output = shop.run(&script).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let user = written(&shop.path("user"));
    let query = |arguments: &[&str]| {
        let mut all = vec!["audit", "query"];
        all.extend(arguments);
        let output = shop.server.cli(shop.server.root_token(), &all);
        String::from_utf8(output.stdout).unwrap()
    };
    let told = Server::eventually("the query answers", || {
        Some(query(&["-path=database/creds/shop"])).filter(|told| told.contains(&user))
    });
    assert!(told.contains("jwt-system:prod:shop") && told.contains("shop-prod:1 database/creds/shop"), "{told}");
    let told = query(&["-path=kv/data/prod/shop/payment", "-operation=read"]);
    assert!(told.contains("jwt-system:prod:shop") && told.contains("shop-prod:2 kv/data/prod/shop/*"), "{told}");
    let told = query(&[&format!("-username={user}")]);
    assert!(told.contains("jwt-system:prod:shop"), "{told}");
    let root = Wire::new(&shop.server, shop.server.root_token());
    let holder = Server::eventually("the end is recorded", || {
        let found = root.get(&format!("sys/audit-journal/holder?username={user}")).data()["holders"][0].clone();
        found["until"].is_string().then_some(found)
    });
    assert_eq!(holder["issued"]["auth"]["display_name"], "jwt-system:prod:shop", "{holder}");

    let text = std::fs::read_to_string(shop.path("audit.log")).unwrap();
    for secret in
        [shop.handed_over.as_str(), "the-first-api-key", &std::fs::read_to_string(shop.path("identity.jwt")).unwrap()]
    {
        assert!(!text.contains(secret), "a secret is in the audit log");
        assert!(!shop.server.log().contains(secret), "a secret is in the server's log");
    }
    let told = shop.admin(&["audit", "verify"], "");
    let report = root.get("sys/audit-journal/verify").data();
    assert_eq!(report["sound"], true, "{told} {report}");
    // One byte of a copy.
    let directory = PathBuf::from(report["directory"].as_str().unwrap());
    let key = format!("-key={}", report["public_key"].as_str().unwrap());
    shop.server.stop();
    let copy = shop.path("copy");
    assert!(Command::new("cp").arg("-r").args([&directory, &copy]).status().unwrap().success());
    let at = format!("-dir={}", copy.display());
    let sound = shop.server.cli("", &["audit", "verify", &at, &key]);
    assert!(sound.status.success(), "{}", shown(&sound));
    let segment = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment
        .filter(|path| !path.ends_with("heads.jsonl") && path.extension().is_some_and(|end| end == "jsonl"))
        .min()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let broken = shop.server.cli("", &["audit", "verify", &at, &key]);
    assert_eq!(broken.status.code(), Some(2), "{}", shown(&broken));
}
