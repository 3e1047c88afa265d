//! The contract of streams on every backend.

use tests::remote::Remote;
use tests::stream_contract;

use crate::Embedded;
use crate::npm_server::{Kinesalite, KinesisLocal};
use crate::pypi_server::Ministack;

stream_contract! {
    over_embedded = super::Remote<super::Embedded>,
    over_kinesis_local = super::Remote<super::KinesisLocal>,
    over_kinesalite = super::Remote<super::Kinesalite>,
    over_ministack = super::Remote<super::Ministack>,
}
