-- Superuser, in each database, after all else: what the least-privilege backup role needs beyond pg_read_all_data.
-- The bare role gets none of it, so that its failures can be shown.
\set ON_ERROR_STOP on
\if :{?backup} \else \set backup torture_backup \endif
\if :{?bare} \else \set bare torture_bare \endif
GRANT CONNECT ON DATABASE :"DBNAME" TO :"backup", :"bare";
-- Large objects are not in pg_read_all_data before PostgreSQL 19.
SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I', oid, :'backup') FROM pg_largeobject_metadata ORDER BY oid \gexec
