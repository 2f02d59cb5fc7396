//! Somebody who can write the store below changes what lies there.

use proptest::prelude::*;

use super::*;

async fn read(bench: &Bench, key: &str) -> Result<Option<Entry>, storage::Error> {
    // A new barrier each time, so that nothing comes from a cache.
    bench.open().await.get(&Key::new(key)).await
}

fn is_damaged<T>(result: Result<T, storage::Error>) -> bool {
    matches!(result, Err(storage::Error::Damaged(_)))
}

#[tokio::test]
async fn a_value_does_not_open_at_another_path() {
    let bench = Bench::new().await;
    let barrier = bench.open().await;
    write(&*barrier, &[("policy/admin", Some(b"all")), ("policy/guest", Some(b"none"))]).await;
    bench.overwrite("policy/guest", bench.sealed_value("policy/admin").await).await;
    let error = read(&bench, "policy/guest").await.unwrap_err().to_string();
    assert!(error.contains("policy/guest") && !error.contains("all"), "{error}");
    assert!(is_damaged(
        bench.open().await.scan(&Scan { prefix: "policy/".into(), after: None, limit: 9, values: true }).await
    ));
    assert!(read(&bench, "policy/admin").await.is_ok());
}

#[tokio::test]
async fn every_flipped_byte_and_every_cut_is_noticed() {
    let bench = Bench::new().await;
    put(&*bench.open().await, "k", b"value").await;
    let good = bench.sealed_value("k").await;
    assert_eq!(good.len(), 5 + OVERHEAD);
    assert_eq!(good[..5], [0, 0, 0, 1, 1], "term and version");
    for at in 0..good.len() {
        for flip in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            bench.overwrite("k", bad).await;
            assert!(is_damaged(read(&bench, "k").await), "byte {at}");
        }
        bench.overwrite("k", good[..at].to_vec()).await;
        assert!(is_damaged(read(&bench, "k").await), "cut at {at}");
    }
    bench.overwrite("k", [good.as_slice(), &[0]].concat()).await;
    assert!(is_damaged(read(&bench, "k").await));
    bench.overwrite("k", good).await;
    assert_eq!(read(&bench, "k").await.unwrap().unwrap().value, b"value".as_slice());
}

#[tokio::test]
async fn a_changed_keyring_does_not_open() {
    let bench = Bench::new().await;
    let good = bench.sealed_value(KEYRING).await;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bench.overwrite(KEYRING, bad).await;
        let refused = bench.sealed.open(&bench.root_key).await;
        assert!(matches!(refused, Err(Error::WrongKey | Error::Damaged(_))), "byte {at}");
    }
    bench.overwrite(KEYRING, good).await;
    bench.open().await;
}

#[tokio::test]
async fn the_keyring_cannot_be_passed_off_as_data_or_data_as_a_keyring() {
    let bench = Bench::new().await;
    put(&*bench.open().await, "k", b"value").await;
    let (keyring, value) = (bench.sealed_value(KEYRING).await, bench.sealed_value("k").await);
    bench.overwrite("k", keyring).await;
    assert!(is_damaged(read(&bench, "k").await));
    bench.overwrite(KEYRING, value).await;
    assert!(matches!(bench.sealed.open(&bench.root_key).await, Err(Error::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_value_at_any_path_comes_back_and_nowhere_else(
        path in "[a-z/]{1,40}", other in "[a-z/]{1,40}", value in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            put(&*bench.open().await, &path, &value).await;
            let found = read(&bench, &path).await.unwrap().unwrap();
            assert_eq!(found.value, value);
            if other != path {
                bench.overwrite(&other, bench.sealed_value(&path).await).await;
                assert!(is_damaged(read(&bench, &other).await));
            }
        });
    }
}
