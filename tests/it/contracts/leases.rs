//! The contract of stores of positions, on every store.

use host::state::error::Outcome;
use host::state::memory::{Failure, MemoryStore};
use tests::lease_store_contract;
use tests::lease_store_contract::{Dynamodb, Sqlite, advance, advances, after, create, owner, row, started, stream};

mod model;

lease_store_contract! {
    memory = MemoryStore::default(),
    sqlite = Sqlite::default(),
    dynamodb = Dynamodb::embedded(),
    simulated = Dynamodb::simulated(),
}

#[test]
fn an_injected_failure_is_ambiguous_and_a_new_claim_tells() {
    for (failure, expected) in [(Failure::Before, after(1)), (Failure::After, after(2))] {
        let memory = MemoryStore::default();
        let mut store = started(&memory);
        store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
        memory.fail_after(0, failure);
        let failed = store.commit(&[stream()], &advances(vec![advance("a", after(1), after(2))]), &[]);
        assert_eq!(failed.expect_err("injected").outcome(), Outcome::Unknown);
        let claimed = store.claim(&owner("host:1", 2_000), &[]).expect("its own");
        assert_eq!(claimed.streams[0].rows, [row("a", expected)]);
    }
}
