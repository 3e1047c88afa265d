//! The contract of streams on every backend, and that of enhanced fan-out on those that push.

use tests::remote::Remote;
use tests::{fan_out_contract, fan_out_contract_of_fixed_shards, stream_contract};

use crate::Embedded;
use crate::npm_server::{Kinesalite, KinesisLocal};
use crate::pypi_server::Ministack;

stream_contract! {
    over_embedded = super::Remote<super::Embedded>,
    over_kinesis_local = super::Remote<super::KinesisLocal>,
    over_kinesalite = super::Remote<super::Kinesalite>,
    over_ministack = super::Remote<super::Ministack>,
}

fan_out_contract! { pushed_by_embedded = super::Remote<super::Embedded> }

fan_out_contract_of_fixed_shards! {
    pushed_by_kinesis_local = super::Remote<super::KinesisLocal>,
    pushed_by_ministack = super::Remote<super::Ministack>,
}
