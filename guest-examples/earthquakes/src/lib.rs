//! Turns events of the USGS earthquake feed (GeoJSON, one feature a record) into flat JSON, and leaves out what is
//! weaker than `minimum_magnitude` (default 0) or has no magnitude at all. With `strong_magnitude`, what has that or more
//! takes the route `strong` and everything else the route `weak`; without it nothing is on a route, and goes to every sink.
//!
//! ```json
//! {"id":"uw61345682","time":"2018-01-31T01:49:59.650Z","magnitude":0.31,"place":"37km NNE of Amboy, Washington",
//!  "longitude":-122.197,"latitude":46.2035,"depth_km":3.28}
//! ```
//!
//! An element's event time is the earthquake's, and its key the event's id: a revised event follows the first one.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sluicebox_guest::kinesis::{self, ElementFormat, ElementSchema};
use sluicebox_guest::{Config, Elements, Error, Record};

mod rfc3339;

struct Earthquakes {
    minimum_magnitude: f64,
    strong_magnitude: Option<f64>,
}

/// What the feed sends, as far as it is of interest.
#[derive(Deserialize)]
struct Feature<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    properties: Properties<'a>,
    geometry: Geometry,
}

#[derive(Deserialize)]
struct Properties<'a> {
    /// Null for an event that nobody measured yet; but never absent.
    #[serde(deserialize_with = "Option::deserialize")]
    mag: Option<f64>,
    #[serde(borrow)]
    place: Option<Text<'a>>,
    /// Milliseconds since the epoch.
    time: i64,
}

/// Borrowed from the record unless it holds an escape: inside an option, serde copies a bare `Cow`.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Geometry {
    /// Longitude and latitude in degrees, depth in kilometres.
    coordinates: (f64, f64, Option<f64>),
}

/// What goes to the sinks.
#[derive(Serialize)]
struct Earthquake<'a> {
    id: &'a str,
    time: rfc3339::Millis,
    magnitude: f64,
    place: Option<&'a str>,
    longitude: f64,
    latitude: f64,
    depth_km: Option<f64>,
}

impl kinesis::Deserializer for Earthquakes {
    fn open(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            minimum_magnitude: config.float("minimum_magnitude")?.unwrap_or(0.0),
            strong_magnitude: config.float("strong_magnitude")?,
        })
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        let feature: Feature<'_> = serde_json::from_slice(record.data()).map_err(|error| refusal(record, &error))?;
        let Some(magnitude) = feature.properties.mag.filter(|magnitude| *magnitude >= self.minimum_magnitude) else {
            return Ok(());
        };
        let (longitude, latitude, depth_km) = feature.geometry.coordinates;
        let earthquake = Earthquake {
            id: &feature.id,
            time: rfc3339::Millis(feature.properties.time),
            magnitude,
            place: feature.properties.place.as_ref().map(|place| &*place.0),
            longitude,
            latitude,
            depth_km,
        };
        let mut element = out.element().key(feature.id.as_bytes()).event_time(feature.properties.time);
        if let Some(strong) = self.strong_magnitude {
            element = element.route(if magnitude >= strong { "strong" } else { "weak" });
        }
        element
            .try_write(|payload| serde_json::to_writer(payload, &earthquake))
            .map_err(|error| Error::poison("not-writable", error))
    }

    fn schema(&self) -> ElementSchema {
        ElementSchema { format: ElementFormat::Json, fingerprint: 1 }
    }
}

/// Not JSON at all, or JSON of another kind.
fn refusal(record: &Record<'_>, error: &serde_json::Error) -> Error {
    const SHOWN_MAX: usize = 60;
    let data = record.data();
    let start = String::from_utf8_lossy(&data[..data.len().min(SHOWN_MAX)]);
    if error.is_data() {
        Error::poison(
            "not-an-earthquake",
            format_args!("no GeoJSON feature of an earthquake: {error}; it begins {start:?}"),
        )
    } else {
        Error::poison("not-json", format_args!("not JSON: {error}; it begins {start:?}"))
    }
}

sluicebox_guest::kinesis_deserializer!(Earthquakes);

#[cfg(test)]
mod tests;
