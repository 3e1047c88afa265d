//! The contract of enhanced fan-out, on the fake and on the crate that the embedded endpoint is made of.

use host::ports::FanOutApi;
use tests::fan_out_contract;
use tests::fan_out_contract::FanOutBackend;

use super::stream::{Ferrokinesis, Memory};

impl FanOutBackend for Memory {
    fn fan_out(&self) -> &dyn FanOutApi {
        &self.0
    }

    fn let_time_fly(&self) {
        tokio::time::pause();
    }
}

fan_out_contract! { in_memory = super::Memory, over_ferrokinesis = super::Ferrokinesis }
