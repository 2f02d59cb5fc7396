//! The memory store is a store.

use storage::testing::conforms;
use store_memory::Memory;

#[tokio::test]
async fn memory_conforms() {
    conforms(async || Memory::new() as _).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms_on_many_threads() {
    conforms(async || Memory::new() as _).await;
}
