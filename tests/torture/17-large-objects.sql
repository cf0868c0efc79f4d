-- Owner, UTF8 database. Large objects: empty, small, sparse, 5 MB, another owner's, with comments and grants.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SELECT lo_from_bytea(900001, '') ; SELECT lo_from_bytea(900002, '\x00ff5c2e0a');
SELECT lo_from_bytea(900003, decode(repeat('00112233445566778899aabbccddeeff', 320 * 1024), 'hex'));
-- A hole of a megabyte: reads as zeros.
SELECT lo_create(900004); SELECT lo_put(900004, 1048576, 'after the hole');
SELECT lo_from_bytea(900005, convert_to('other owner', 'UTF8')); ALTER LARGE OBJECT 900005 OWNER TO torture_app;
SELECT count(lo_create(900100 + g)) FROM generate_series(1, 50) AS g;
-- More than 1,000 with one owner and one set of grants: pg_dump 17 and newer groups them by thousands.
SELECT count(lo_from_bytea(910000 + g, convert_to('lo ' || g, 'UTF8'))) FROM generate_series(1, 1100) AS g;
SELECT lo_unlink(910500);
COMMENT ON LARGE OBJECT 900002 IS E'it''s a "large" object\n\\.';
GRANT SELECT ON LARGE OBJECT 900002, 900003 TO torture_reader;
GRANT SELECT, UPDATE ON LARGE OBJECT 900002 TO torture_app WITH GRANT OPTION;
GRANT SELECT ON LARGE OBJECT 900001 TO PUBLIC;
REVOKE ALL ON LARGE OBJECT 900004 FROM CURRENT_USER;
CREATE TABLE public.lo_users (id int PRIMARY KEY, image oid, body text);
INSERT INTO public.lo_users VALUES (1, 900002, 'small'), (2, 900003, 'five megabytes'), (3, 1, 'dangling');
