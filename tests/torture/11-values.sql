-- Owner, UTF8 database. One table per family of types, with the values at which a dump can go wrong.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
CREATE SCHEMA vals;
SET search_path = vals;

CREATE TABLE numbers (id int PRIMARY KEY, small smallint, whole int, big bigint, exact numeric, scaled numeric(12, 4), negative_scale numeric(5, -3),
    single real, double double precision, cash money, flag boolean, "char" "char", oid oid, lsn pg_lsn, tx xid8);
INSERT INTO numbers VALUES
    (1, -32768, -2147483648, -9223372036854775808, 'NaN', -0.0001, 99999000, '-0', '-0', '-$1,234.56', false, 'x', 4294967295, 'FFFFFFFF/FFFFFFFF', '18446744073709551615'),
    (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 12345678.1234, 1000, 'NaN', 'NaN', '$92,233,720,368,547,758.07', true, '', 0, '0/0', '0'),
    (3, 0, 0, 0, '-Infinity', 0, 0, 'Infinity', '-Infinity', 0, NULL, E'\\', 1, '16/B374D848', '3'),
    (4, NULL, NULL, NULL, 1e-16383, NULL, NULL, 1e-45, 5e-324, NULL, NULL, E'\t', NULL, NULL, NULL),
    (5, 1, 1, 1, ('1' || repeat('0', 5000) || '.' || repeat('3', 2000))::numeric, 1, 1, 3.4028235e38, 1.7976931348623157e308, 1, true, E'\n', 1, '1/1', '1'),
    (6, 1, 1, 1, 0.000, 1.1, 1000, 0.1, 0.30000000000000004, 1, true, E'\177', 1, '1/1', '1'),
    (7, 1, 1, 1, -0.0, 1.1, 1000, 16777217, 123456789012345680, 1, true, 'N', 1, '1/1', '1');

CREATE TABLE strings (id int PRIMARY KEY, note text, value text, limited varchar(40), padded char(10), named name);
INSERT INTO strings (id, note, value) VALUES
    (1, 'empty', ''), (2, 'null', NULL), (3, 'end of data', E'\\.'), (4, 'literal null', E'\\N'), (5, 'NULL in words', 'NULL'),
    (6, 'backslash', E'\\'), (7, 'two', E'\\\\'), (8, 'newline', E'\n'), (9, 'cr', E'\r'), (10, 'crlf', E'a\r\nb'), (11, 'tab', E'\t'),
    (12, 'controls', E'\b\f\v\001\002\037\177'), (13, 'spelled escapes', E'\\000 \\x00 \\n \\t \\b'), (14, 'spaces', '  both ends  '),
    (15, 'quotes', $$'"`´’$$), (16, 'unicode', 'äöüß ☃ 漢字 עברית العربية 👩‍👩‍👧‍👦'), (17, 'combining', U&'e\0301 versus \00e9'),
    (18, 'highest', U&'\+10FFFF'), (19, 'byte order mark', U&'\FEFFx'), (20, 'line separators', U&'\2028\2029\0085'),
    (21, 'end of data inside', E'before\n\\.\nafter'), (22, 'end of data with crs', E'\\.\r\n\\.\r'), (23, 'sql', $$'); DROP TABLE strings; --$$),
    (24, 'dollar', '$$ $1 $outer$'), (25, 'braces', '{"a",NULL,{}}'), (26, 'meta', E'\\! rm \\copy \\connect x'), (27, 'percent', '%s %n %%'),
    (28, 'ends in a backslash', E'x\\'), (29, 'ends in newlines', E'x\n\n\n'), (30, 'only newlines', E'\n\n\n'), (31, 'comma', ',;|'),
    (32, 'private use', U&'\E000\F8FF'), (33, 'copy null', E'\\N\t\\N');
UPDATE strings SET limited = left(value, 40), padded = left(value, 10), named = left(value, 20);

CREATE TABLE moments (id int PRIMARY KEY, day date, local timestamp, zoned timestamptz, clock time, zoned_clock timetz, span interval, short timestamptz(0), years interval year to month);
INSERT INTO moments VALUES
    (1, 'infinity', 'infinity', 'infinity', '24:00', '24:00+15:59', '178000000 years', 'infinity', '1 year 2 mons'),
    (2, '-infinity', '-infinity', '-infinity', '00:00', '00:00-15:59', '-178000000 years -11 mons +2 days -03:04:05.000006', '-infinity', '-1 mon'),
    (3, '4713-01-01 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '12:34:56.789012', '12:34:56.789012+05:45:30', '0', '0001-12-31 23:59:59 BC', '0'),
    (4, '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '00:00:00.000001', '04:05:06-08', '1 mon -1 day +00:00:00.000001', '2000-01-01', '1 year'),
    (5, '0001-01-01', '0044-03-15 12:00 BC', '1883-11-18 12:03:58-04:56:02', '23:59:59.999999', '00:00+00', '-00:00:00.1', '2024-02-29 12:00:00.5', '-1 year -1 mon'),
    (6, '2024-10-27', '2024-10-27 02:30', '2024-10-27 02:30 Europe/Berlin', '02:30', '02:30+01', '1 day -24:00', '2024-03-31 02:30 Europe/Berlin', '11 mons'),
    (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE documents (id int PRIMARY KEY, raw json, tree jsonb, path jsonpath, words tsvector, query tsquery, bits bit(5), varbits varbit, id_value uuid);
INSERT INTO documents VALUES
    (1, E'  {"a" : 1, "a" : 2,\n\t"b" : "\\u0041\\\\ \\" \\n" } ', '{"b": [1, 1.0, 1e3, -0, null, true], "a": "\\ \" \n ☃"}', '$.a[*] ? (@.b > 1 && @.c like_regex "^\\d")', $$'it''s':1A,2 'back\\slash':3 'a b'$$, $$'fat' & !('rat' <-> 'c\\at') | 'x':*AB$$, B'10101', B'1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
    (2, 'null', 'null', '$', '', '', B'00000', '', '00000000-0000-0000-0000-000000000000'),
    (3, '"\\."', '"\\."', 'strict $.*', NULL, NULL, NULL, NULL, NULL),
    (4, '[]', '{}', '$."quoted key"', 'a:1,2,3', 'a', B'11111', B'101010101010', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
    (5, '1e400', '1e400', 'lax $[last]', to_tsvector('shapes.search', 'The quick brown foxes jumped'), NULL, NULL, NULL, NULL);

CREATE TABLE lists (id int PRIMARY KEY, ints int[], texts text[], grid int[][], moods shapes.mood[], composites shapes."Odd ""composite"""[], ranges int4range[], domains shapes.percentage[], listed shapes.int_list, blobs bytea[], vector int2vector, oids oidvector);
INSERT INTO lists VALUES
    (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '', ''),
    (2, '[-2:0]={1,NULL,3}', ARRAY['', NULL, 'NULL', 'null', E'a\\b', 'c"d', 'e,f', '{g}', E'h\ti\nj', ' k '], '{{1,2},{3,NULL}}', ARRAY['sad', 'it''s "fine"', NULL, E'tab\tand\\']::shapes.mood[], ARRAY[ROW(E'x"y\\,()', 'meh', ARRAY[ROW(1, NULL, 'NaN')::shapes.point3], 'infinity')::shapes."Odd ""composite"""], ARRAY['[1,5)', 'empty', '(,)', NULL]::int4range[], '{1.5,100}', '{1,2,3}', ARRAY['\x00'::bytea, '\x5c5c', '', NULL], '1 2 3', '1 2 3'),
    (3, '[5:6][-1:0]={{1,2},{3,4}}', '[0:1]={a,b}', '[2:2][3:4][1:1]={{{1},{2}}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, NULL, '{NULL}', '{{NULL}}', NULL, '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '0', '0');

CREATE TABLE spans (id int PRIMARY KEY, whole int4range, numbers numrange, days daterange, moments tstzrange, floats shapes.float_range, texts shapes.text_range, many int4multirange, many_moments tstzmultirange, many_floats shapes.float_multirange);
INSERT INTO spans VALUES
    (1, 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', '{}'),
    (2, '(,)', '[NaN,NaN]', '[-infinity,infinity]', '[2024-01-01 BC,infinity)', '[-0,0]', '["","a,b"]', '{[1,3),[5,8),(10,)}', '{[2020-01-01,2020-01-02),(2021-01-01,)}', '{[-Infinity,-1],(1,Infinity)}'),
    (3, '[1,2]', '(1.0,1.10]', '[2024-02-29,]', '(,2024-01-01]', '(1,2)', E'["(\\"q\\")","z\\\\\\\\"]', '{(,)}', NULL, NULL),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE things (id int PRIMARY KEY, mood shapes.mood DEFAULT 'meh', share shapes.percentage, half shapes.half, even shapes.even_int, code shapes.code, old shapes.legacy, point shapes.point3, positive shapes.positive_point, odd shapes."Odd ""composite""", nothing shapes.nothing, whole_row strings);
INSERT INTO things VALUES
    (1, 'sad', 0, 50, 2, E'A\\"''', 'fine', (1, 2, 3), (1, NULL, 'NaN'), (E'a"b\\c,(d)\n', 'naïve ☃', ARRAY[(1, 2, 3)::shapes.point3, NULL], '-infinity'), ROW()::shapes.nothing, (SELECT strings FROM strings WHERE id = 21)),
    (2, NULL, NULL, NULL, 0, '', '', (NULL, NULL, NULL), NULL, ('', NULL, '{}', NULL), NULL, NULL),
    (3, DEFAULT, DEFAULT, DEFAULT, 4, NULL, NULL, NULL, NULL, NULL, NULL, (NULL, '', '', NULL, NULL, NULL));

CREATE TABLE net (id int PRIMARY KEY, host inet, block cidr, mac macaddr, mac8 macaddr8, spot point, edge lseg, way path, area polygon, disk circle, frame box, equation line);
INSERT INTO net VALUES
    (1, '192.168.1.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(NaN,-0)', '[(0,0),(1,1)]', '[(0,0),(1,1e300)]', '((0,0),(1,1),(1,0))', '<(0,0),1>', '(1,1),(0,0)', '{1,-1,0}'),
    (2, '::ffff:1.2.3.4/128', '2001:db8::/32', NULL, NULL, '(Infinity,-Infinity)', NULL, '((0,0),(1,1))', NULL, '<(0.1,0.2),0>', NULL, NULL);

CREATE TABLE bytes (id int PRIMARY KEY, value bytea DEFAULT '\x00ff5c', label text);
INSERT INTO bytes VALUES (1, '', 'empty'), (2, NULL, 'null'), (3, '\x00', 'zero'), (4, '\x5c2e0a', 'backslash dot newline'), (5, decode(repeat('00', 9000), 'hex'), 'zeros'), (6, DEFAULT, 'default');
INSERT INTO bytes SELECT 7, decode(string_agg(lpad(to_hex(n), 2, '0'), '' ORDER BY n), 'hex'), 'all 256' FROM generate_series(0, 255) AS n;

-- References to objects are dumped as names; they resolve against an empty search path.
CREATE TABLE refs (id int PRIMARY KEY, class regclass, type regtype, proc regprocedure, role regrole, namespace regnamespace, config regconfig, collation_ regcollation, operator regoperator);
INSERT INTO refs VALUES (1, 'vals.strings', 'shapes.mood', 'shapes.overloaded(text)', 'torture_app', 'vals', 'shapes.search', '"C"', 'shapes.=~=(shapes.point3,shapes.point3)'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- The xml type needs a build with libxml.
CREATE FUNCTION pg_temp.has_xml() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM '<a/>'::xml; RETURN true; EXCEPTION WHEN feature_not_supported THEN RETURN false; END $$;
SELECT pg_temp.has_xml() AS has_xml \gset
\if :has_xml
CREATE TABLE xmls (id int PRIMARY KEY, value xml);
INSERT INTO xmls VALUES (1, '<?xml version="1.0" encoding="UTF-8"?><a b="&quot;">é☃<![CDATA[<&>]]></a>'), (2, XMLPARSE(CONTENT E'two <b/>\n\t<c/> roots')), (3, XMLPARSE(DOCUMENT '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>')), (4, ''), (5, NULL);
\endif
