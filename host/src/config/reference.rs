//! The reference of all keys, `docs/config.md`, as text.

use super::section::{Key, Need};
use super::walk::describe;

const OPENING: &str = "# The manifest

One TOML file describes one pipeline. `sluicebox check FILE` tells every mistake in it at once, `sluicebox schema` prints
its JSON Schema. This page is made of the definitions that the program reads manifests with; [sinks.md](sinks.md) explains
sinks, and [converters.md](converters.md) what makes their entries.

- **Durations** are texts: a number and `ms`, `s`, `m`, `h` or `d`, as in `\"250ms\"`.
- **Sizes** are texts: a number and `B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB` or `TiB`. `MB` is 10^6 bytes, `MiB` is
  2^20 bytes.
- **Paths** are relative to the manifest.
- **Names** have 1 to 128 letters, digits, `.`, `_` and `-`, and start with a letter or digit.
- **Variables:** `${NAME}` in a text is replaced from the environment; a variable that is not set is a mistake. `$${` stands
  for `${` itself. Nothing else of the environment changes what a manifest means, but for `credentials` where it says so,
  and for how requests leave the machine (proxy, certificates): see [access.md](access.md).
- **Unknown keys** are mistakes, in every table but `[deserializer.config]`, `[assigner.config]` and
  `[sink.converter.config]`.

The shortest manifest:

```toml
version = 1
name = \"orders\"

[source]
type = \"kinesis\"
stream_arn = \"arn:aws:kinesis:us-east-1:123456789012:stream/orders\"

[deserializer]
component = \"components/orders.wasm\"

[[sink]]
type = \"stdout\"
```
";

const CLOSING: &str = "
## Where this differs from Flink's connectors

Names and defaults are those of Apache Flink's connectors, except where theirs surprise:

| Here | There | Why |
|---|---|---|
| `initial_timestamp` without `at-timestamp` is a mistake | it is parsed and has no effect | a leftover either misleads or breaks the start |
| `region` that contradicts the ARN is a mistake | one of the two silently wins | calls would go to the wrong place |
| `[aws.basic]` takes effect only with `credentials = \"basic\"`, and is a mistake otherwise | two keys switch the provider | what signs the calls stands in one place |
| `[aws.assume_role]` has `duration`, `policy`, and an STS endpoint and region of its own | only the outermost role has an endpoint, none the rest | a role in another account or network is asked for where it is |
| one session for all streams of a pipeline, renewed ahead of its end | a provider per client, and a throw-away one at the start | a role is assumed once, and an outage of STS is not felt at once |
| `\"process\"` starts a program of yours | a class on the class path | any language, no plug-in |
| `[aws.basic]` has `session_token` | temporary credentials cannot be given | roles and single sign-on hand out no others |
| `stream_arns` reads several streams, of any region and account, as one source | one source, one stream | one watermark and one checkpoint over all of them |
| `initial_timestamp_format` is tried out before it is used, and holds for texts only | a text that does not fit is tried as seconds since 1970 | a typo must not become another time |
| `[aws.retry]` governs every call; the number of attempts ends a start, never a pipeline that runs | it governs some calls, and a shard that is throttled for a minute restarts the job | a throttle passes, and a restart reads more, not less |
| the pause between attempts is drawn from zero to its bound | from half of it | readers that were refused together come back apart |
| `on_gap` | trimmed records are passed over in silence | loss is a decision, and somebody's |
| `audit_interval` | shards are listed from the last known one on only | a shard missed once would be missed for ever |
| `consumer_arn` and `consumer_arns` name consumers of others | a name alone, whatever the lifecycle | an ARN cannot mean a consumer that was registered anew |
| `keep_consumer` | a managed consumer is deregistered whenever the job stops or restarts | a start need not wait until one is registered |
| `reader = \"auto\"` | one reader, or no start | a stream that has no room for a consumer is read all the same |
| `[source.efo]` is checked whatever the reader is | it is read when it is needed | the way back is there |
| `[sink.converter]` for streams, too | a partition key generator and a serializer | one component decides about key, hash key and data together |
| `order` | a retry is overtaken by what came later | the order of a key survives a throttle |
| `max_records_per_second`, `max_bytes_per_second` | one window for all shards, which any throttle shrinks | a hot shard slows itself only |
| sizes count partition keys; a table has `max_bytes` and `max_record_bytes` | data alone is counted; a table's sizes cannot be set | requests are refused by what the service counts |
| `max_bytes`, `max_count` and their like are held against the service's limits before the start | some when the task starts, some never | a number should not fail a job at night |
| `max_buffered_bytes` | entries are counted, whatever their size | 10,000 items may be 4 GB |
| `request_timeout` is that of every call | ten minutes, and no sink can set it | a request that is lost holds its key back |
| `max_attempts`, `max_entry_age` | an entry is tried for ever | what no attempt mends is poison, and somebody decides |
| `guarantee = \"exactly-once\"` | at-least-once | positions and items in one transaction |
| a sink into a stream that its source reads is a mistake | it runs, for ever | nobody wants that |
| unknown keys of sinks are mistakes | under `sink.` they are ignored | a typo has no effect, and nobody hears of it |
| a checkpoint interval of its own | the job's | one pipeline, one file |
";

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = OPENING.to_owned();
    for section in describe() {
        let title = if section.path.is_empty() { "Top".to_owned() } else { format!("`{}`", section.header()) };
        page.push_str(&format!("\n## {title}\n\n{}\n", section.doc));
        if section.keys.is_empty() {
            continue;
        }
        page.push_str("\n| Key | Takes | Default | Meaning |\n|---|---|---|---|\n");
        for key in &section.keys {
            page.push_str(&row(key));
        }
        page.push_str(example(&section.path));
    }
    page.push_str(CLOSING);
    page
}

/// What a section looks like, where its keys do not show it.
fn example(path: &str) -> &'static str {
    match path {
        "sink.batch" => SINK_EXAMPLE,
        "local.streams" => STREAMS_EXAMPLE,
        "local.tables" => TABLES_EXAMPLE,
        _ => "",
    }
}

const SINK_EXAMPLE: &str = "
A sink and its tables, each of which belongs to the `[[sink]]` above it:

```toml
[[sink]]
name = \"large\"
type = \"kinesis\"
stream_arn = \"arn:aws:kinesis:us-east-1:123456789012:stream/large-orders\"
when = [\"large\"]
[sink.converter]
builtin = \"passthrough\"

[[sink]]
type = \"dynamodb\"
table = \"orders\"
guarantee = \"exactly-once\"
[sink.converter]
builtin = \"json-to-item\"
[sink.batch]
max_age = \"1s\"

[checkpoint]
store = \"dynamodb:orders-positions\"
```
";

const STREAMS_EXAMPLE: &str = "
In one line: `streams = [ { name = \"orders\", shards = 2, seed = \"orders.ndjson\", partition_key = \"/id\" } ]` in `[local]`.
";

const TABLES_EXAMPLE: &str = "
In one line: `tables = [ { name = \"quakes\", partition_key = \"id\", sort_key = \"at:N\" } ]` in `[local]`.
";

fn row(key: &Key) -> String {
    let default = match key.need {
        Need::Required => "**required**".to_owned(),
        Need::Default(literal) => format!("`{literal}`"),
        Need::Optional(_) => "–".to_owned(),
    };
    let only = match key.need {
        Need::Optional(when) if !when.is_empty() => format!(" Only {when}."),
        Need::Required | Need::Default(_) | Need::Optional(_) => String::new(),
    };
    format!("| `{}` | {} | {default} | {}{only} |\n", key.name, key.takes.replace('|', "\\|"), key.doc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_key_is_explained_in_whole_sentences() {
        for section in describe() {
            let docs = section.keys.iter().map(|key| key.doc).chain([section.doc]);
            for doc in docs {
                assert!(doc.ends_with('.'), "{} has {doc:?}", section.header());
            }
        }
    }
}
