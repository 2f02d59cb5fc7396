//! The session against a fake server, with a simulated clock, and with the test in the guardian's place.

mod fake;

use std::{path::Path, sync::mpsc, time::Duration};

use client::{Client, Config};
use clock::{Simulated, Timestamp};
use secret::SecretString;
use serde_json::json;
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle};

use self::fake::Fake;
use super::{Plan, attend};
use crate::{
    manifest::Manifest,
    supervise::{Command, Event, Exit, Handle, Spec},
};

/// A session under way.
struct Run {
    fake: Fake,
    time: Simulated,
    commands: mpsc::Receiver<Command>,
    events: UnboundedSender<Event>,
    task: JoinHandle<()>,
}

impl Run {
    fn start(fake: &Fake, vars: &[(&str, &str)], manifest: &str) -> Self {
        let time = Simulated::new(Timestamp::UNIX_EPOCH);
        let config = Config {
            address: fake.address.clone(),
            token: Some(SecretString::new("parent".to_owned())),
            max_retries: 0,
            ..Config::default()
        };
        let plan = Plan {
            client: Client::new(config).unwrap(),
            manifest: Manifest::parse(Path::new("strongroom.toml"), manifest).unwrap(),
            command: vec!["app".into()],
            vars: vars.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            clock: time.clock(),
        };
        let (handle, commands, events) = Handle::for_test();
        let task = tokio::spawn(attend(plan, handle));
        Self { fake: fake.clone(), time, commands, events, task }
    }

    /// The next command; the clock stands.
    async fn command(&mut self) -> Command {
        for _ in 0..5000 {
            if let Ok(command) = self.commands.try_recv() {
                return command;
            }
            pause().await;
        }
        panic!("no command came; asked: {:?}", self.fake.all());
    }

    /// The first start, answered.
    async fn started(&mut self) -> Spec {
        let Command::Start(spec) = self.command().await else { panic!("no start") };
        self.events.send(Event::Started).unwrap();
        *spec
    }

    /// Lets `seconds` pass, and gives the session the time to do what it wants in each of them. Returns the commands.
    async fn pass(&mut self, seconds: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for _ in 0..seconds {
            self.time.advance(Duration::from_secs(1));
            self.idle().await;
            while let Ok(command) = self.commands.try_recv() {
                match &command {
                    Command::Replace(_) => self.events.send(Event::Started).unwrap(),
                    Command::Deliver(_) => self.events.send(Event::Delivered(Ok(()))).unwrap(),
                    _ => {}
                }
                commands.push(command);
                self.idle().await;
            }
        }
        commands
    }

    /// Until no request came for a moment.
    async fn idle(&self) {
        let mut before = self.requests();
        loop {
            for _ in 0..5 {
                pause().await;
            }
            let now = self.requests();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Beats go by the real time and do not count.
    fn requests(&self) -> usize {
        self.fake.state().asked.iter().filter(|asked| !asked.what.ends_with("liveness")).count()
    }

    async fn end(self) -> Fake {
        // A session that refused has ended already.
        let _ = self.events.send(Event::Ended(Exit::Code(0)));
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap();
        self.fake
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn env(spec: &Spec) -> Vec<String> {
    spec.env.block().iter().map(|entry| String::from_utf8(entry[..entry.len() - 1].to_vec()).unwrap()).collect()
}

const UI: &str = "sys/internal/ui/mounts/";

#[tokio::test]
async fn a_run_has_a_token_of_its_own_and_gives_it_back() {
    let fake = Fake::start().await;
    fake.put_lease("database/creds/app", "l1", 3600, true, json!({"username": "v-app", "password": "pass-word"}));
    let vars =
        [("USER_NAME", "sr://database/creds/app#username"), ("PASS", "sr://database/creds/app#password"), ("X", "y")];
    let mut run = Run::start(&fake, &vars, "");
    let spec = run.started().await;
    assert_eq!(env(&spec), ["PASS=pass-word", "USER_NAME=v-app", "X=y"]);
    assert_eq!(fake.count("GET database/creds/app"), 1, "two references, one user");
    let all = fake.all();
    let at = |what: &str| all.iter().position(|asked| asked == what).unwrap();
    assert!(at("PUT auth/token/create") < at("PUT auth/token/liveness"));
    assert!(at("PUT auth/token/liveness") < at("GET database/creds/app"), "tied before anything is leased");
    let fake = run.end().await;
    assert_eq!(fake.last("PUT auth/token/revoke-self").token, "token-1", "the child, not the caller's own");
}

/// A server that restarts just when a program ends used to be given up after less than a second.
#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_waited_for_at_the_end() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "");
    run.started().await;
    fake.state().down = Some(503);
    let Run { events, task, .. } = run;
    events.send(Event::Ended(Exit::Code(0))).unwrap();
    // More often than the client by itself would try.
    wait_for(|| fake.count("PUT auth/token/revoke-self") > 4).await;
    assert!(!task.is_finished(), "given up");
    fake.state().down = None;
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    assert_eq!(fake.last("PUT auth/token/revoke-self").token, "token-1");
}

#[tokio::test]
async fn without_references_nobody_is_asked() {
    let fake = Fake::start().await;
    let mut run = Run::start(&fake, &[("A", "b")], "");
    assert_eq!(env(&run.started().await), ["A=b"]);
    assert!(run.end().await.all().is_empty());
}

#[tokio::test]
async fn what_cannot_be_resolved_refuses_the_start_and_revokes() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"key": "hunter22"}));
    for (value, why) in [("sr://kv/a#kee", "kee"), ("sr://kv/b#key", "404"), ("sr://kv#x", "MOUNT/PATH")] {
        let mut run = Run::start(&fake, &[("SECRET", value)], "");
        let Command::Refuse(exit, message) = run.command().await else { panic!("started") };
        assert_eq!(exit, Exit::NOT_STARTED);
        assert!(message.contains(why) && !message.contains("hunter22"), "{message}");
        run.end().await;
    }
    assert_eq!(fake.count("PUT auth/token/create"), 2);
    assert_eq!(fake.count("PUT auth/token/revoke-self"), 2);
}

#[tokio::test]
async fn versioned_mounts_are_recognised() {
    let fake = Fake::start().await;
    for path in ["kv/apps/web", "kv/gone"] {
        fake.put(&format!("{UI}{path}"), json!({"path": "kv/", "type": "kv", "options": {"version": "2"}}));
    }
    let versioned = |value: &str| json!({"data": {"key": value}, "metadata": {"version": 1}});
    fake.put("kv/data/apps/web", versioned("latest"));
    fake.put("kv/data/apps/web?version=3", versioned("third"));
    fake.put("kv/data/gone", json!({"data": null, "metadata": {"version": 1, "deletion_time": "x"}}));
    let vars = [("A", "sr://kv/apps/web#key"), ("B", "sr://kv/apps/web?version=3#key")];
    let mut run = Run::start(&fake, &vars, "");
    assert_eq!(env(&run.started().await), ["A=latest", "B=third"]);
    run.end().await;
    let mut run = Run::start(&fake, &[("A", "sr://kv/gone#key")], "");
    assert!(matches!(run.command().await, Command::Refuse(..)));
    run.end().await;
}

#[tokio::test]
async fn ten_changes_within_a_second_are_one_restart_and_equal_data_is_none() {
    let fake = Fake::start().await;
    let names: Vec<String> = (0..10).map(|n| format!("kv/s{n}")).collect();
    let references: Vec<(String, String)> =
        names.iter().map(|name| (name.replace('/', "_"), format!("sr://{name}#v"))).collect();
    for name in &names {
        fake.put(name, json!({"v": "old"}));
    }
    let vars: Vec<(&str, &str)> = references.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut run = Run::start(&fake, &vars, "[run]\nrefresh = \"60s\"");
    run.started().await;
    assert!(run.pass(200).await.is_empty(), "nothing changed");
    assert!(fake.count("GET kv/s0") >= 4, "it was looked at");
    // The first change is seen alone, the others come while it settles.
    fake.put(&names[9], json!({"v": "new"}));
    let looked = fake.count("GET kv/s9");
    while fake.count("GET kv/s9") == looked {
        assert!(run.pass(1).await.is_empty(), "not before it has settled");
    }
    for name in &names {
        fake.put(name, json!({"v": "new"}));
    }
    let commands = run.pass(120).await;
    let [Command::Replace(spec)] = commands.as_slice() else { panic!("{} commands", commands.len()) };
    assert!(env(spec).iter().all(|entry| entry.ends_with("=new")), "{:?}", env(spec));
    assert!(run.pass(120).await.is_empty());
    run.end().await;
}

#[tokio::test]
async fn a_failing_server_never_stops_the_program_and_is_not_hammered() {
    for (status, seconds) in [(503, 600), (403, 200)] {
        let fake = Fake::start().await;
        fake.put_lease("database/creds/app", "l1", 60, true, json!({"password": "first-one"}));
        fake.put("kv/a", json!({"v": "old"}));
        fake.answer("renew l1", json!({"request_id": "r", "lease_id": "l1", "lease_duration": 60, "renewable": true}));
        let vars = [("P", "sr://database/creds/app#password"), ("V", "sr://kv/a#v")];
        let mut run = Run::start(&fake, &vars, "[run]\nrefresh = \"30s\"");
        run.started().await;
        fake.state().down = Some(status);
        let before = run.requests();
        assert!(run.pass(seconds).await.is_empty());
        let requests = run.requests() - before;
        assert!(requests <= 40 * 3, "{requests} requests for two secrets and a token in {seconds} s of {status}");
        fake.state().down = None;
        fake.put("kv/a", json!({"v": "new"}));
        fake.put_lease("database/creds/app", "l2", 60, true, json!({"password": "second-one"}));
        let commands = run.pass(150).await;
        assert!(!commands.is_empty() && commands.iter().all(|command| matches!(command, Command::Replace(_))));
        run.end().await;
    }
}

#[tokio::test]
async fn a_lease_is_renewed_and_replaced_before_it_ends() {
    let fake = Fake::start().await;
    fake.put_lease("database/creds/app", "l1", 30, true, json!({"password": "first-one"}));
    fake.put_lease("database/creds/app", "l2", 30, true, json!({"password": "second-one"}));
    let renewed =
        |seconds: u64| json!({"request_id": "r", "lease_id": "l1", "lease_duration": seconds, "renewable": true});
    fake.state().answers.insert("renew l1".to_owned(), [renewed(30), renewed(30), renewed(9)].into());
    let mut run = Run::start(&fake, &[("P", "sr://database/creds/app#password")], "[run]\nmin_interval = \"0s\"");
    run.started().await;
    assert!(run.pass(60).await.is_empty());
    assert_eq!(fake.count("PUT sys/leases/renew"), 3, "at two thirds of each 30 s");
    // The last renewal gave 9 s only: the greatest age. A new user is made before they are over.
    let commands = run.pass(8).await;
    let [Command::Replace(spec)] = commands.as_slice() else { panic!("{} commands", commands.len()) };
    assert_eq!(env(spec), ["P=second-one"]);
    run.pass(1).await;
    let asked = fake.state().asked.clone();
    let at = |what: &str| asked.iter().rposition(|asked| asked.what == what).unwrap();
    assert!(at("GET database/creds/app") < at("PUT sys/leases/revoke"), "first the new one, then the old one goes");
    assert_eq!(asked[at("PUT sys/leases/revoke")].body["lease_id"], "l1");
    run.end().await;
}

#[tokio::test]
async fn a_signal_follows_the_new_files_and_the_old_lease_goes_last() {
    let fake = Fake::start().await;
    fake.put_lease("database/creds/app", "l1", 30, false, json!({"password": "first-one"}));
    fake.put_lease("database/creds/app", "l2", 3000, false, json!({"password": "second-one"}));
    let manifest =
        "[files.pw]\nref = \"sr://database/creds/app#password\"\n[run]\non_rotation = \"signal\"\nsignal = \"USR1\"";
    let mut run = Run::start(&fake, &[], manifest);
    run.started().await;
    run.time.advance(Duration::from_secs(20));
    run.idle().await;
    run.time.advance(Duration::from_secs(1));
    let Command::Deliver(files) = run.command().await else { panic!("no delivery") };
    assert!(files[0].content.matches(b"second-one"));
    // It did not work out: no signal, and the old user stays.
    run.events.send(Event::Delivered(Err("no space".to_owned()))).unwrap();
    run.idle().await;
    assert!(run.commands.try_recv().is_err());
    assert_eq!(fake.count("PUT sys/leases/revoke"), 0);
    let commands = run.pass(60).await;
    assert!(matches!(commands.as_slice(), [Command::Deliver(_), Command::Signal(10)]), "{commands:?}");
    assert_eq!(fake.count("PUT sys/leases/revoke"), 1);
    assert_eq!(fake.count("GET database/creds/app"), 2, "no further user was made");
    run.end().await;
}

#[tokio::test]
async fn what_is_in_the_environment_keeps_its_lease_when_the_program_is_not_restarted() {
    let fake = Fake::start().await;
    fake.put_lease("database/creds/app", "l1", 30, false, json!({"password": "first-one"}));
    fake.put_lease("database/creds/app", "l2", 3000, false, json!({"password": "second-one"}));
    let mut run = Run::start(&fake, &[("P", "sr://database/creds/app#password")], "[run]\non_rotation = \"ignore\"");
    run.started().await;
    let commands = run.pass(60).await;
    assert!(!commands.iter().any(|command| matches!(command, Command::Replace(_) | Command::Signal(_))));
    assert_eq!(fake.count("PUT sys/leases/revoke"), 0);
    run.end().await;
}

#[tokio::test]
async fn a_token_at_its_greatest_age_is_followed_by_another() {
    let fake = Fake::start().await;
    fake.state().token_ttl = 30;
    fake.state().token_renewable = false;
    fake.put_lease("database/creds/app", "l1", 3600, true, json!({"password": "first-one"}));
    fake.put_lease("database/creds/app", "l2", 3600, true, json!({"password": "second-one"}));
    let mut run = Run::start(&fake, &[("P", "sr://database/creds/app#password")], "[run]\nmin_interval = \"0s\"");
    run.started().await;
    fake.state().token_ttl = 3600;
    let commands = run.pass(23).await;
    let [Command::Replace(spec)] = commands.as_slice() else { panic!("{} commands", commands.len()) };
    assert_eq!(env(spec), ["P=second-one"]);
    run.pass(1).await;
    {
        let state = fake.state();
        let revoked: Vec<&str> =
            state.asked.iter().filter(|a| a.what == "PUT auth/token/revoke-self").map(|a| a.token.as_str()).collect();
        assert_eq!(revoked, ["token-1"], "with its user, once the program has the new one");
    }
    run.end().await;
    assert_eq!(fake.count("PUT auth/token/revoke-self"), 2);
}

#[tokio::test]
async fn a_new_token_without_leases_does_not_disturb_the_program() {
    let fake = Fake::start().await;
    fake.state().token_ttl = 30;
    fake.state().token_renewable = false;
    fake.put("kv/a", json!({"v": "same"}));
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "");
    run.started().await;
    assert!(run.pass(65).await.is_empty());
    assert_eq!(fake.state().logins, 4);
    assert_eq!(fake.count("PUT auth/token/revoke-self"), 3, "those before the present one");
    run.end().await;
}

#[tokio::test]
async fn the_stream_is_held_beaten_and_opened_again() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "[run]\ngrace = \"1s\"");
    run.started().await;
    wait_for(|| fake.state().beats >= 2).await;
    assert_eq!(fake.state().streams, 1);
    fake.state().cut = 1;
    wait_for(|| fake.state().streams == 2).await;
    run.end().await;
    let beats = fake.state().beats;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(fake.state().beats, beats, "no beat after the end");
}

#[tokio::test]
async fn a_token_that_the_server_has_lost_is_replaced() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "[run]\ngrace = \"1s\"");
    run.started().await;
    fake.state().untied = Some(403);
    fake.state().cut = 1;
    wait_for(|| fake.state().logins == 2).await;
    assert!(run.commands.try_recv().is_err(), "the program is not disturbed");
    run.end().await;
}

#[tokio::test]
async fn a_server_that_ties_nothing_is_accepted_unless_it_is_required() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    fake.state().untied = Some(404);
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "");
    run.started().await;
    run.end().await;
    let mut run = Run::start(&fake, &[("V", "sr://kv/a#v")], "[run]\nbound = \"required\"");
    assert!(matches!(run.command().await, Command::Refuse(Exit::NOT_STARTED, _)));
    run.end().await;
    assert_eq!(fake.count("PUT auth/token/revoke-self"), 2);
}

#[tokio::test]
async fn an_end_before_the_start_revokes_and_starts_nothing() {
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    let run = Run::start(&fake, &[("V", "sr://kv/a#v")], "");
    wait_for(|| fake.state().logins == 1).await;
    run.events.send(Event::Interrupted).unwrap();
    let Run { commands, task, .. } = run;
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    let started = commands.try_iter().filter(|command| matches!(command, Command::Start(_))).count();
    // Either it was quicker than we; or nothing was started.
    assert!(started == 0 || fake.count("GET kv/a") == 1);
}

/// While the server took its time to tie the token, nobody held it: it lived on until its own end.
#[tokio::test]
async fn a_token_that_is_not_tied_yet_is_given_back_too() {
    let fake = Fake::start().await;
    fake.state().silent = true;
    let run = Run::start(&fake, &[("V", "sr://kv/a#v")], "");
    wait_for(|| fake.count("PUT auth/token/liveness") == 1).await;
    run.events.send(Event::Interrupted).unwrap();
    tokio::time::timeout(Duration::from_secs(10), run.task).await.unwrap().unwrap();
    assert_eq!(fake.last("PUT auth/token/revoke-self").token, "token-1");
}

#[tokio::test]
async fn logins_carry_their_proof_and_read_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let jwt = dir.path().join("jwt");
    let fake = Fake::start().await;
    fake.put("kv/a", json!({"v": "x"}));
    let vars = [("V", "sr://kv/a#v")];
    for proof in ["one", "two"] {
        std::fs::write(&jwt, format!("{proof}\n")).unwrap();
        let manifest = format!("[login]\nmethod = \"jwt\"\nrole = \"ci\"\njwt_file = {jwt:?}");
        let mut run = Run::start(&fake, &vars, &manifest);
        run.started().await;
        run.end().await;
        let login = fake.last("PUT auth/jwt/login");
        assert_eq!(login.body, json!({"jwt": proof, "role": "ci"}));
        assert_eq!(login.token, "", "nobody's token is shown to a login");
    }
    let manifest = format!("[login]\nmethod = \"approle\"\nrole_id = \"r\"\nsecret_id_file = {jwt:?}");
    let mut run = Run::start(&fake, &vars, &manifest);
    run.started().await;
    run.end().await;
    let login = fake.last("PUT auth/approle/login");
    assert_eq!(login.body, json!({"role_id": "r", "secret_id": "two"}));
    let mut run = Run::start(&fake, &vars, "[login]\nmethod = \"jwt\"\njwt_file = \"/no/such/file\"");
    let Command::Refuse(_, message) = run.command().await else { panic!("started") };
    assert!(message.contains("/no/such/file"), "{message}");
    run.end().await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..5000 {
        if condition() {
            return;
        }
        pause().await;
    }
    panic!("it did not happen");
}
