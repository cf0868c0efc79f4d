-- Superuser, optional, in a database of its own test: settings that also change how a schema prints and how literals
-- parse. pg_dump copies standard_conforming_strings into its script, so schemas compare only with the same settings.
\set ON_ERROR_STOP on
ALTER DATABASE :"DBNAME" SET standard_conforming_strings = off;
ALTER DATABASE :"DBNAME" SET quote_all_identifiers = on;
ALTER DATABASE :"DBNAME" SET default_transaction_read_only = on;
ALTER DATABASE :"DBNAME" SET client_encoding = 'LATIN1';
