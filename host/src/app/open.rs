//! Opens a manifest's components: one that refuses its configuration is found before any stream is touched.

use std::sync::Arc;

use host_core::moment::EpochMillis;

use crate::app::load::Ready;
use crate::clock::Clock;
use crate::component::deserializer::{self, KinesisDeserializer, OpenContext};
use crate::component::limits::Limits;
use crate::component::{ComponentError, ComponentMetrics, DynamodbConverter, KinesisConverter, Loaded, ShardAssigner};
use crate::config::{Assigner, BuiltinConverter, ComponentUse, ConfigValue, Converter, Manifest, SinkOutput};
use crate::convert::Convert;
use crate::convert::builtin::{JsonToItem, Passthrough};
use crate::pipeline::failure::Failure;
use crate::pipeline::lanes::OpenComponents;
use crate::subtask::{Components, Converting};

/// What opens the components of a subtask: at the start, and again if the subtask is lost. `converters` opens those of the
/// sinks that write to services, told the subtask's index.
#[must_use]
pub fn components(
    ready: &Ready,
    clock: Clock,
    converters: impl Fn(u32) -> Result<Vec<Converting>, Failure> + Send + Sync + 'static,
) -> OpenComponents {
    let metrics = Arc::new(ComponentMetrics::default());
    let (manifest, loaded) = (ready.manifest.clone(), ready.deserializer.clone());
    Arc::new(move |subtask| {
        let used = &manifest.deserializer;
        let context = context(&manifest, used, "deserializer", subtask);
        let opened =
            KinesisDeserializer::open(&loaded, context, limits(&used.limits), Arc::clone(&metrics), clock.wall());
        let deserializer = Box::new(opened.map_err(|source| failure(used, source))?);
        Ok(Components { deserializer, converters: converters(subtask)? })
    })
}

/// The shard assigner, if the manifest names one.
///
/// # Errors
/// It does not open.
pub fn assigner(ready: &Ready, clock: Clock) -> Result<Option<ShardAssigner>, Failure> {
    let manifest = &ready.manifest;
    let (Assigner::Component(used), Some(loaded)) = (&manifest.assigner, &ready.assigner) else { return Ok(None) };
    let context = context(manifest, used, "assigner", 0);
    let opened = ShardAssigner::open(loaded, context, limits(&used.limits), Arc::default(), clock.wall());
    opened.map(Some).map_err(|source| failure(used, source))
}

/// Opens the element converter of one sink for one subtask: at the start, and again if the subtask is lost.
pub type OpenConverter = Arc<dyn Fn(u32) -> Result<Box<dyn Convert>, Failure> + Send + Sync>;

/// How a component of one role is opened.
type OpenComponent =
    fn(&Loaded, OpenContext, Limits, Arc<ComponentMetrics>, EpochMillis) -> Result<Box<dyn Convert>, ComponentError>;

/// What opens the element converter of the sink at this place of the manifest. `None` for a sink that takes elements.
///
/// # Panics
/// The manifest has no such sink.
#[must_use]
pub fn converter(ready: &Ready, sink: usize, clock: Clock) -> Option<OpenConverter> {
    let (converter, open): (_, OpenComponent) = match &ready.manifest.sinks[sink].output {
        SinkOutput::Kinesis(sink) => (&sink.converter, |loaded, context, limits, metrics, time| {
            Ok(Box::new(KinesisConverter::open(loaded, context, limits, metrics, time)?))
        }),
        SinkOutput::Dynamodb(sink) => (&sink.converter, |loaded, context, limits, metrics, time| {
            Ok(Box::new(DynamodbConverter::open(loaded, context, limits, metrics, time)?))
        }),
        SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => return None,
    };
    Some(match converter {
        Converter::Builtin(BuiltinConverter::Passthrough) => Arc::new(|_subtask| Ok(Box::new(Passthrough))),
        Converter::Builtin(BuiltinConverter::JsonToItem) => Arc::new(|_subtask| Ok(Box::new(JsonToItem))),
        Converter::Component(used) => {
            let metrics = Arc::new(ComponentMetrics::default());
            let (manifest, loaded, used) = (ready.manifest.clone(), ready.converters[&sink].clone(), used.clone());
            Arc::new(move |subtask| {
                let stage = format!("sink.{}.converter", manifest.sinks[sink].name);
                let context = context(&manifest, &used, &stage, subtask);
                open(&loaded, context, limits(&used.limits), Arc::clone(&metrics), clock.wall())
                    .map_err(|source| failure(&used, source))
            })
        }
    })
}

fn context(manifest: &Manifest, used: &ComponentUse, stage: &str, subtask: u32) -> OpenContext {
    OpenContext {
        tenant: manifest.tenant.to_string(),
        pipeline: manifest.name.to_string(),
        stage: stage.to_owned(),
        subtask,
        parallelism: manifest.parallelism,
        config: used.config.iter().map(|(key, value)| (key.clone(), config_value(value))).collect(),
        shadow: false,
    }
}

fn failure(used: &ComponentUse, source: ComponentError) -> Failure {
    Failure::Open { component: used.component.display().to_string(), source }
}

fn limits(limits: &crate::config::Limits) -> Limits {
    Limits {
        memory: usize::try_from(limits.memory).unwrap_or(usize::MAX),
        cpu_per_batch: limits.cpu_per_batch,
        wall_per_batch: limits.wall_per_batch,
        output_ratio: limits.output_ratio,
        log_bytes_per_second: u32::try_from(limits.log_rate).unwrap_or(u32::MAX),
        ..Limits::default()
    }
}

fn config_value(value: &ConfigValue) -> deserializer::ConfigValue {
    match value {
        ConfigValue::Text(text) => deserializer::ConfigValue::Text(text.clone()),
        ConfigValue::Integer(number) => deserializer::ConfigValue::Integer(*number),
        ConfigValue::Float(number) => deserializer::ConfigValue::Float(*number),
        ConfigValue::Boolean(truth) => deserializer::ConfigValue::Boolean(*truth),
    }
}
