-- From format 1: rows learn until when they are complete.

ALTER TABLE shards ADD COLUMN complete_until_ms INTEGER;
