SELECT coalesce(pg_catalog.jsonb_object_agg(c.oid::text, pg_catalog.jsonb_build_object(
           'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'filenode', c.relfilenode::bigint, 'rows', c.reltuples::bigint,
           'bytes', CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END, 'valid', coalesce(i.indisvalid, true),
           'vacuumed', extract(epoch FROM pg_catalog.pg_stat_get_last_vacuum_time(c.oid)))), '{}')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'i', 'I')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'lifeboat_drill') AND n.nspname NOT LIKE 'pg\_t%'
