//! `sluicebox inspect`: what a component is, without running it.

use crate::cli::Inspect;
use crate::commands::{WRONG, complain, print, with_causes};
use crate::component::inspect as describe;
use crate::progress::Screen;

/// Prints a component's report.
#[must_use]
pub fn inspect(arguments: &Inspect, screen: &Screen) -> u8 {
    match describe::inspect(&arguments.component) {
        Ok(report) if arguments.json => match serde_json::to_string_pretty(&report) {
            Ok(json) => print(screen, &json),
            Err(error) => {
                complain(screen, &error);
                WRONG
            }
        },
        Ok(report) => print(screen, &report),
        Err(error) => {
            complain(screen, &with_causes(&error));
            WRONG
        }
    }
}
