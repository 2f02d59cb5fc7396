use std::{
    fs,
    io::Read as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};

use super::*;

fn settings(path: &Path) -> Settings {
    Settings { target: Target::Path(path.to_owned()), mode: Some(0o600) }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn parse(given: &[(&str, &str)]) -> Result<Settings, String> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::parse(&given, false).map(|(settings, _)| settings).map_err(|error| error.to_string())
}

#[test]
fn options_are_read_and_checked() {
    let path = |path: &str| Target::Path(path.into());
    assert_eq!(parse(&[("file_path", "/a")]), Ok(Settings { target: path("/a"), mode: Some(0o600) }));
    assert_eq!(parse(&[("path", "/a")]), Ok(Settings { target: path("/a"), mode: Some(0o600) }));
    assert_eq!(parse(&[("path", "/b"), ("file_path", "/a")]), Ok(Settings { target: path("/a"), mode: Some(0o600) }));
    assert_eq!(parse(&[("file_path", "stdout")]).unwrap().target, Target::Stdout);
    assert_eq!(parse(&[("file_path", "discard")]).unwrap().target, Target::Discard);
    let modes =
        [("0640", Some(0o640)), ("0777", Some(0o666)), ("4755", Some(0o644)), ("0000", None), ("644", Some(0o644))];
    for (mode, want) in modes {
        assert_eq!(parse(&[("path", "/a"), ("mode", mode)]).unwrap().mode, want, "{mode}");
    }
    let refused: &[(&[(&str, &str)], &str)] = &[
        (&[], "option file_path: is required"),
        (&[("file_path", "")], "option file_path: is required"),
        (&[("path", "/a/")], "option file_path: must name a file, not a directory"),
        (&[("path", "/a\0b")], "option file_path: must not contain a zero byte"),
        (&[("path", "/a"), ("mode", "rw")], "option mode: must be octal permission bits, such as 0600"),
        (&[("path", "/a"), ("mode", "99")], "option mode: must be octal permission bits, such as 0600"),
        (&[("path", "/a"), ("mode", "10000")], "option mode: must be octal permission bits, such as 0600"),
        (&[("path", "/a"), ("mode", "0111")], "option mode: leaves nobody a right to read or write, such as 0600 does"),
        (&[("path", "/a"), ("colour", "red")], "option colour: is not an option of this device; remove it"),
    ];
    for (given, want) in refused {
        assert_eq!(parse(given), Err((*want).to_owned()));
    }
}

#[tokio::test]
async fn lines_are_appended_and_the_mode_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(&path, "before\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let file = File::new(settings(&path)).unwrap();
    file.write(b"one\n").await.unwrap();
    file.write(b"two\n").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "before\none\ntwo\n");
    assert_eq!(mode_of(&path), 0o600);

    let kept = dir.path().join("kept.log");
    fs::write(&kept, "").unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
    let file = File::new(Settings { mode: None, ..settings(&kept) }).unwrap();
    file.write(b"one\n").await.unwrap();
    assert_eq!(mode_of(&kept), 0o644);
}

#[tokio::test]
async fn a_renamed_file_is_followed_until_it_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
    let file = File::new(settings(&path)).unwrap();
    file.write(b"one\n").await.unwrap();
    fs::rename(&path, &rotated).unwrap();
    file.write(b"two\n").await.unwrap();
    file.reopen().await.unwrap();
    file.write(b"three\n").await.unwrap();
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
}

#[tokio::test]
async fn a_moved_file_is_noticed_without_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit.log"), dir.path().join("moved"));
    let file = File::new(settings(&path)).unwrap();
    file.write(b"one\n").await.unwrap();
    fs::rename(&path, &moved).unwrap();
    file.check().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    file.write(b"two\n").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

#[tokio::test]
async fn no_line_is_lost_in_a_deleted_file() {
    // The story: an operator deletes the log, and the server goes on writing to a file without a name.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let file = File::new(settings(&path)).unwrap();
    file.write(b"one\n").await.unwrap();
    fs::remove_file(&path).unwrap();
    file.write(b"two\n").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(file.write(b"three\n").await, Err(Error::Deleted(gone)) if gone == path));
    assert!(file.check().await.is_err());
    assert!(file.trouble().is_some());
    fs::create_dir(dir.path()).unwrap();
    file.write(b"four\n").await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
}

#[tokio::test]
async fn a_target_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/audit.log");
    let error = File::new(settings(&missing)).unwrap().write(b"x\n").await.unwrap_err();
    assert_eq!(error.chain(), format!("cannot open {}: No such file or directory (os error 2)", missing.display()));
    let error = File::new(settings(dir.path())).unwrap().write(b"x\n").await.unwrap_err();
    assert!(error.chain().contains("Is a directory"), "{}", error.chain());
}

#[tokio::test]
async fn a_full_disk_fails_the_write() {
    let file = File::new(Settings { target: Target::Path("/dev/full".into()), mode: None }).unwrap();
    assert!(matches!(file.write(b"x\n").await, Err(Error::Full(_))));
}

#[test]
fn a_torn_line_is_ended_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let stop = Arc::new(AtomicBool::new(false));
    let mut open = Open { settings: settings(&path), file: None, torn: false, stop };
    open.write(b"{\"half").unwrap();
    open.torn = true;
    open.write(b"{\"whole\":1}\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"half\n{\"whole\":1}\n");
    assert!(!open.torn);
}

#[tokio::test]
async fn a_pipe_without_a_reader_is_an_error_and_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let file = File::new(settings(&path)).unwrap();
    assert!(file.write(b"x\n").await.is_err());
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(nonblock).open(&path).unwrap();
    file.write(b"x\n").await.unwrap();
    let mut got = [0; 2];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"x\n");
}

#[tokio::test]
async fn a_closed_file_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let file = File::new(settings(&path)).unwrap();
    let first = file.write(b"one\n");
    file.close().await.unwrap();
    first.await.unwrap();
    assert!(matches!(file.write(b"two\n").await, Err(Error::Closed)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
}

#[tokio::test]
async fn discard_takes_everything() {
    let file = File::new(Settings { target: Target::Discard, mode: None }).unwrap();
    file.write(b"x\n").await.unwrap();
    file.reopen().await.unwrap();
    file.check().await.unwrap();
    file.close().await.unwrap();
}
