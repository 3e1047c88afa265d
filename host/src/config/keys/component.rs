//! Keys about components: `[assigner]`, `[deserializer]`, `[sink.converter]`, and the tables that every component has.

use std::ops::Range;
use std::path::PathBuf;

use super::super::forms::{Choice, FilePath, Lasting, Placed, Routes, Sized, Whole};
use super::super::walk::Table;
use super::super::{
    Assigner, BuiltinAssigner, BuiltinConverter, ComponentUse, ConfigValue, Converter, Grants, Limits, WasiGrant,
};

pub(super) fn assigner(table: &mut Table<'_, '_>) -> Option<Assigner> {
    let builtin = table.default(
        "builtin",
        Choice(&[("uniform", BuiltinAssigner::Uniform), ("fewest", BuiltinAssigner::Fewest)]),
        "uniform",
        "One that the host brings along: `uniform` spreads shards evenly by their hash ranges, `fewest` gives each to the \
         subtask that has the fewest.",
    );
    let component = table.optional(
        "component",
        FilePath("components/assign.wasm"),
        "without `builtin`",
        "The file of a component that decides instead. An answer that is invalid or missing is told, and `uniform` decides.",
    );
    let rest = rest(table, ("1s", "5s"));
    if let (Some(_), Some(at)) = (table.at("builtin"), table.at("component")) {
        let help = "remove one of the two";
        table.complain(Some(at), "`builtin` and `component` exclude each other", help);
        return None;
    }
    let builtin = builtin?;
    match component? {
        Some(component) => Some(Assigner::Component(rest?.of(component))),
        None => {
            let alone = without_component(table, "assigner", "components/assign.wasm");
            rest?;
            alone.then_some(Assigner::Builtin(builtin))
        }
    }
}

/// Complains of tables that only a component has; whether there is none.
fn without_component(table: &mut Table<'_, '_>, section: &str, example: &str) -> bool {
    let mut alone = true;
    for name in ["config", "limits", "grants"] {
        if let Some(at) = table.at(name) {
            let message = format!("[{section}.{name}] has a meaning only with a `component`");
            let help = format!("add component = {example:?} in [{section}], or remove this table");
            table.complain(Some(at), message, help);
            alone = false;
        }
    }
    alone
}

/// The component, and the routes that it says it has.
pub(super) type Deserializer = (ComponentUse, Option<Placed<String>>);

pub(super) fn deserializer(table: &mut Table<'_, '_>) -> Option<Deserializer> {
    let component = table.required("component", FilePath("components/orders.wasm"), "The component's file.");
    let routes = table.optional(
        "routes",
        Routes {
            none: "a component without routes needs no list of them",
            instead: "leave the key out, or name the routes that it gives elements",
        },
        "",
        "The routes that the component may give elements, so that a route that no sink takes, and a `when` that names none of \
         them, is told before anything is read. Default: routes are what the component says they are.",
    );
    let rest = rest(table, ("50ms", "2s"));
    Some((rest?.of(component?), routes?))
}

/// What makes entries of elements, and where it is named if the host brings it along.
pub(super) struct Converting {
    pub(super) converter: Converter,
    pub(super) at: Option<Range<usize>>,
}

pub(super) fn converter(table: &mut Table<'_, '_>) -> Option<Converting> {
    let builtin = table.optional(
        "builtin",
        Choice(&[("passthrough", BuiltinConverter::Passthrough), ("json-to-item", BuiltinConverter::JsonToItem)]),
        "without `component`",
        "One that the host brings along. `passthrough`, for streams: an element's bytes become a record under the element's \
         key. `json-to-item`, for tables: an element that is a JSON object becomes an item.",
    );
    let component = table.optional(
        "component",
        FilePath("components/to-item.wasm"),
        "without `builtin`",
        "The file of a component that makes them.",
    );
    let rest = rest(table, ("50ms", "2s"));
    let at = table.at("builtin");
    match (&at, table.at("component")) {
        (Some(_), Some(at)) => {
            table.complain(Some(at), "`builtin` and `component` exclude each other", "remove one of the two");
            None
        }
        (None, None) => {
            let help = "add builtin = \"passthrough\" for a stream, builtin = \"json-to-item\" for a table, or the file of a \
                        component as `component`";
            table.complain(table.here(), "[sink.converter] names no converter", help);
            None
        }
        (Some(_), None) => {
            let alone = without_component(table, "sink.converter", "components/to-item.wasm");
            rest?;
            let converter = Converter::Builtin(builtin??);
            alone.then_some(Converting { converter, at })
        }
        (None, Some(_)) => Some(Converting { converter: Converter::Component(rest?.of(component??)), at: None }),
    }
}

/// What a component has beside its file.
struct Rest {
    config: Vec<(String, ConfigValue)>,
    limits: Limits,
    grants: Grants,
}

impl Rest {
    fn of(self, component: PathBuf) -> ComponentUse {
        ComponentUse { component, config: self.config, limits: self.limits, grants: self.grants }
    }
}

/// `time`: the defaults of CPU time and time on the wall for one call. A round of assignments has up to all shards and comes
/// rarely, a batch is small and comes often.
fn rest(table: &mut Table<'_, '_>, time: (&'static str, &'static str)) -> Option<Rest> {
    let config = table.free(
        "config",
        "Handed to the component when it is opened. Keys and values are the component's: texts, numbers, true and false; \
         dates are handed on as texts.",
    );
    let limits = table.section("limits", "What one instance of the component may use.", |table| limits(table, time));
    let grants =
        table.section("grants", "What the component may import beyond log, metrics, configuration and time.", grants);
    Some(Rest { config: config?, limits: limits?, grants: grants? })
}

fn limits(table: &mut Table<'_, '_>, (cpu, wall): (&'static str, &'static str)) -> Option<Limits> {
    let memory = table.default("memory", Sized("64KiB", "4GiB"), "64MiB", "Bytes over all of its memories.");
    let cpu_per_batch = table.default(
        "cpu_per_batch",
        Lasting("1ms", "1m"),
        cpu,
        "CPU time for one call: a batch of records or elements, or one round of assignments.",
    );
    let wall_per_batch = table.default("wall_per_batch", Lasting("1ms", "10m"), wall, "Time on the wall for one call.");
    let output_ratio =
        table.default("output_ratio", Whole(1, 1024), 8, "Bytes that it may return per byte that it was handed.");
    let log_rate = table.default(
        "log_rate",
        Sized("0B", "64MiB"),
        "64KiB",
        "Bytes of log per second; the rest is dropped and counted.",
    );
    Some(Limits {
        memory: memory?,
        cpu_per_batch: cpu_per_batch?,
        wall_per_batch: wall_per_batch?,
        output_ratio: output_ratio?,
        log_rate: log_rate?,
    })
}

fn grants(table: &mut Table<'_, '_>) -> Option<Grants> {
    let wasi = table.default(
        "wasi",
        Choice(&[("inert", WasiGrant::Inert), ("none", WasiGrant::None)]),
        "inert",
        "How much of WASI it gets: what a language runtime needs to start, without files, sockets and environment; or \
         nothing at all.",
    );
    Some(Grants { wasi: wasi? })
}
