//! The contracts of streams, of streams that are written to, of tables and of positions on the backends that have such, and
//! that of enhanced fan-out on those that push.

use tests::lease_store_contract::Dynamodb;
use tests::remote::{Provider as _, Remote, stream_name};
use tests::tables::RemoteTable;
use tests::{
    fan_out_contract, fan_out_contract_of_fixed_shards, lease_store_contract, put_contract, stream_contract,
    table_contract,
};

use crate::Embedded;
use crate::npm_server::{Kinesalite, KinesisLocal};
use crate::pypi_server::Ministack;

stream_contract! {
    over_embedded = super::Remote<super::Embedded>,
    over_kinesis_local = super::Remote<super::KinesisLocal>,
    over_kinesalite = super::Remote<super::Kinesalite>,
    over_ministack = super::Remote<super::Ministack>,
}

put_contract! {
    put_to_kinesis_local = super::Remote<super::KinesisLocal>,
    put_to_kinesalite = super::Remote<super::Kinesalite>,
    put_to_ministack = super::Remote<super::Ministack>,
}

table_contract! { tables_of_ministack = super::RemoteTable<super::Ministack> }

/// Tables that no other test uses.
fn positions_of_ministack() -> Dynamodb {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (service, ()) = runtime.block_on(Ministack::serve());
    Dynamodb::at(&service.endpoint, stream_name("positions"))
}

lease_store_contract! { positions_in_ministack = positions_of_ministack() }

fan_out_contract! { pushed_by_embedded = super::Remote<super::Embedded> }

fan_out_contract_of_fixed_shards! {
    pushed_by_kinesis_local = super::Remote<super::KinesisLocal>,
    pushed_by_ministack = super::Remote<super::Ministack>,
}
