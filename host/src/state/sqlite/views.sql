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
