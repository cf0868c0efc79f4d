-- Superuser, in each database, after the data: settings of the database and of roles that change how values print.
-- A restore with plain pg_restore does not bring them back, so a copy speaks in the defaults.
\set ON_ERROR_STOP on
\if :{?owner} \else \set owner torture_owner \endif
\if :{?backup} \else \set backup torture_backup \endif
ALTER DATABASE :"DBNAME" SET DateStyle = 'SQL, DMY';
ALTER DATABASE :"DBNAME" SET IntervalStyle = 'iso_8601';
ALTER DATABASE :"DBNAME" SET TimeZone = 'Asia/Kathmandu';
ALTER DATABASE :"DBNAME" SET extra_float_digits = -3;
ALTER DATABASE :"DBNAME" SET bytea_output = 'escape';
ALTER DATABASE :"DBNAME" SET search_path = "no such schema", pg_temp;
ALTER DATABASE :"DBNAME" SET statement_timeout = '4min';
ALTER DATABASE :"DBNAME" SET array_nulls = off;
ALTER DATABASE :"DBNAME" SET xmloption = 'document';
ALTER DATABASE :"DBNAME" SET default_transaction_isolation = 'serializable';
ALTER DATABASE :"DBNAME" SET default_transaction_deferrable = on;
ALTER DATABASE :"DBNAME" SET row_security = off;
ALTER ROLE :"backup" SET DateStyle = 'German';
ALTER ROLE :"backup" SET client_min_messages = 'debug1';
ALTER ROLE :"backup" IN DATABASE :"DBNAME" SET IntervalStyle = 'sql_standard';
ALTER ROLE :"backup" IN DATABASE :"DBNAME" SET TimeZone = '<+0545>-5:45';
ALTER ROLE :"owner" SET lock_timeout = '50s';
