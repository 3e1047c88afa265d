-- Times are milliseconds since 1970 UTC; the view `positions` (views.sql) shows them as text.

CREATE TABLE pipelines (
  pipeline_id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  generation INTEGER NOT NULL,           -- of the newest claim: only its owner may write
  UNIQUE (tenant, pipeline)
);

CREATE TABLE claims (                    -- the newest ones, and those that some row was last written by
  pipeline_id INTEGER NOT NULL REFERENCES pipelines ON DELETE CASCADE,
  generation INTEGER NOT NULL,
  owner TEXT NOT NULL,                   -- host:pid
  since_ms INTEGER NOT NULL,
  components TEXT NOT NULL,              -- JSON: [{"role": …, "digest": "sha256:…"}]
  released INTEGER NOT NULL DEFAULT 0,   -- 1: ended gracefully
  PRIMARY KEY (pipeline_id, generation)
) WITHOUT ROWID;

CREATE TABLE streams (
  stream_id INTEGER PRIMARY KEY,
  pipeline_id INTEGER NOT NULL REFERENCES pipelines ON DELETE CASCADE,
  stream_arn TEXT NOT NULL,
  created_ms INTEGER NOT NULL,           -- with the ARN, the stream's identity
  start TEXT NOT NULL,
  start_timestamp_ms INTEGER,
  UNIQUE (pipeline_id, stream_arn, created_ms),
  CHECK (start IN ('trim-horizon', 'at-timestamp')),
  CHECK ((start = 'at-timestamp') = (start_timestamp_ms IS NOT NULL))
);

CREATE TABLE shards (
  stream_id INTEGER NOT NULL REFERENCES streams ON DELETE CASCADE,
  shard TEXT NOT NULL,
  format INTEGER NOT NULL,               -- of this row
  generation INTEGER NOT NULL,           -- of the claim that wrote it last
  counter INTEGER NOT NULL,              -- one more with every write
  position TEXT NOT NULL,
  sequence TEXT,                         -- after: decimal
  sub_sequence INTEGER,                  -- after: index inside an aggregated record
  timestamp_ms INTEGER,                  -- at-timestamp
  parents TEXT NOT NULL,                 -- JSON: ["shardId-…"]
  children TEXT NOT NULL,
  hash_start TEXT,                       -- decimal, wider than 64 bits
  hash_end TEXT,
  watermark_ms INTEGER,
  finished_at_ms INTEGER,
  complete_until_ms INTEGER,             -- every record that arrived earlier is with the sinks
  PRIMARY KEY (stream_id, shard),
  CHECK (position IN ('trim-horizon', 'at-timestamp', 'after', 'shard-end')),
  CHECK ((position = 'after') = (sequence IS NOT NULL)),
  CHECK ((position = 'after') = (sub_sequence IS NOT NULL)),
  CHECK ((position = 'at-timestamp') = (timestamp_ms IS NOT NULL)),
  CHECK ((position = 'shard-end') = (finished_at_ms IS NOT NULL))
) WITHOUT ROWID;

CREATE TABLE marks (                     -- how much of a sink belongs to the positions
  pipeline_id INTEGER NOT NULL REFERENCES pipelines ON DELETE CASCADE,
  sink TEXT NOT NULL,
  mark INTEGER NOT NULL,
  PRIMARY KEY (pipeline_id, sink)
) WITHOUT ROWID;
-- What people look at. Made anew whenever the tables change.

DROP VIEW IF EXISTS positions;

CREATE VIEW positions AS
SELECT tenant, pipeline, stream_arn, shard, position, sequence, sub_sequence,
       strftime('%Y-%m-%dT%H:%M:%fZ', timestamp_ms / 1000.0, 'unixepoch') AS timestamp,
       strftime('%Y-%m-%dT%H:%M:%fZ', watermark_ms / 1000.0, 'unixepoch') AS watermark,
       strftime('%Y-%m-%dT%H:%M:%fZ', complete_until_ms / 1000.0, 'unixepoch') AS complete_until,
       strftime('%Y-%m-%dT%H:%M:%fZ', finished_at_ms / 1000.0, 'unixepoch') AS finished_at,
       parents, children, owner, shards.generation, counter, components
FROM shards
JOIN streams USING (stream_id)
JOIN pipelines USING (pipeline_id)
LEFT JOIN claims ON claims.pipeline_id = streams.pipeline_id AND claims.generation = shards.generation
ORDER BY tenant, pipeline, stream_arn, created_ms, shard;
