//! Manifests of this bench: from a stream through `passthrough` to one sink.

use anyhow::Result;
use host::config::Manifest;
use serde::{Deserialize, Serialize};

use crate::pipeline::REGION;

/// Requests under way at most, of every writer.
pub(super) const IN_FLIGHT: usize = 8;

/// Which service is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Stream,
    Table,
}

impl Kind {
    /// Entries of a request at most.
    pub(super) const fn batch(self) -> usize {
        match self {
            Self::Stream => 500,
            Self::Table => 25,
        }
    }
}

/// A pipeline.
#[derive(Clone, Debug)]
pub(super) struct Pipeline<'a> {
    pub(super) endpoint: &'a str,
    pub(super) source: &'a str,
    pub(super) kind: Kind,
    /// The name of a stream or a table.
    pub(super) target: &'a str,
    /// More lines of the sink.
    pub(super) sink: &'a str,
    /// Lines of the sink's batches.
    pub(super) batch: &'a str,
    /// The file of its positions.
    pub(super) state: &'a str,
}

impl Pipeline<'_> {
    /// Its manifest.
    pub(super) fn text(&self) -> String {
        let Self { endpoint, source, kind, target, sink, batch, state } = self;
        let to = match kind {
            Kind::Stream => format!("type = \"kinesis\"\nstream_arn = \"{}\"", arn(target)),
            Kind::Table => format!("type = \"dynamodb\"\ntable = \"{target}\""),
        };
        let converter = match kind {
            Kind::Stream => "passthrough",
            Kind::Table => "json-to-item",
        };
        format!(
            "version = 1\nname = \"bench\"\n\
             [source]\ntype = \"kinesis\"\nstream_arn = \"{}\"\ninitial_position = \"trim-horizon\"\n\
             [source.polling]\nmax_calls_per_second = \"unlimited\"\nmax_bytes_per_second = \"unlimited\"\n\
             [deserializer]\ncomponent = {:?}\n\
             [[sink]]\nname = \"out\"\n{to}\n{sink}\n\
             [sink.converter]\nbuiltin = \"{converter}\"\n\
             [sink.batch]\n{batch}\n\
             [checkpoint]\nstore = \"sqlite:{state}\"\n\
             [aws]\nendpoint = \"{endpoint}\"\ncredentials = \"basic\"\n\
             [aws.basic]\naccess_key_id = \"local\"\nsecret_access_key = \"local\"\n",
            arn(source),
            crate::component("passthrough"),
        )
    }

    /// The same, read.
    pub(super) fn manifest(&self, directory: &str) -> Result<Manifest> {
        let path = std::path::Path::new(directory).join("bench.toml");
        Manifest::parse(&self.text(), &path, |_| None).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
    }
}

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:000000000000:stream/{stream}")
}
