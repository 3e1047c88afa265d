//! Keys about components: `[assigner]`, `[deserializer]`, and the tables that every component has.

use std::path::PathBuf;

use super::super::forms::{Choice, FilePath, Lasting, Sized, Whole};
use super::super::walk::Table;
use super::super::{Assigner, BuiltinAssigner, ComponentUse, ConfigValue, Grants, Limits, WasiGrant};

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
            let mut alone = false;
            for name in ["config", "limits", "grants"] {
                if let Some(at) = table.at(name) {
                    let message = format!("[assigner.{name}] has a meaning only with a `component`");
                    let help = "add component = \"components/assign.wasm\" in [assigner], or remove this table";
                    table.complain(Some(at), message, help);
                    alone = true;
                }
            }
            rest?;
            (!alone).then_some(Assigner::Builtin(builtin))
        }
    }
}

pub(super) fn deserializer(table: &mut Table<'_, '_>) -> Option<ComponentUse> {
    let component = table.required("component", FilePath("components/orders.wasm"), "The component's file.");
    let rest = rest(table, ("50ms", "2s"));
    Some(rest?.of(component?))
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
        "CPU time for one call: a batch of records, or one round of assignments.",
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
