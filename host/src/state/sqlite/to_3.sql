-- From format 2: streams learn which consumer the pipeline registered.

ALTER TABLE streams ADD COLUMN consumer_name TEXT;
ALTER TABLE streams ADD COLUMN consumer_arn TEXT;
