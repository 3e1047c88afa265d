//! The simulated AWS: that it answers the SDK as AWS does, and what the host makes of such answers.

mod wire;
mod limits;
mod many;
mod faults;
mod world;
mod polling;
mod resharding;
mod weather;
mod starting;
mod renewed;
mod fan_out;
mod secure;
mod pushed;
mod dynamodb;
mod putting;
mod positions;
mod exactly_once;
