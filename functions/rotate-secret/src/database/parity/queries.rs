//! The catalogue's questions behind a comparison. Of those in [`of`], `$1` is the role that is asked about and `$2` the role, quoted, that the statement names:
//! the answers about two roles can be subtracted. Read from catalogues that every role may read; nothing of `pg_authid`.

/// Questions about one role: what they are about, and their text.
pub(super) fn of(major: u32) -> Vec<(&'static str, &'static str)> {
    let memberships = if major >= 16 { MEMBERSHIPS } else { MEMBERSHIPS_15 };
    vec![
        ("an attribute", ATTRIBUTES),
        ("a membership", memberships),
        ("a privilege", PRIVILEGES),
        ("a privilege on what others will make", DEFAULTS_FOR),
        ("a privilege of others on what it will make", DEFAULTS_BY),
    ]
}

const ATTRIBUTES: &str = "
    SELECT format('ALTER ROLE %s %s', $2, attribute)
      FROM pg_roles, LATERAL (VALUES ('SUPERUSER', rolsuper), ('INHERIT', rolinherit), ('CREATEROLE', rolcreaterole), ('CREATEDB', rolcreatedb),
                                     ('REPLICATION', rolreplication), ('BYPASSRLS', rolbypassrls)) AS attributes (attribute, given)
     WHERE rolname = $1 AND given";

const MEMBERSHIPS: &str = "
    SELECT format('GRANT %I TO %s WITH ADMIN %s, INHERIT %s, SET %s', g.rolname, $2, upper(bool_or(m.admin_option)::text),
                  upper(bool_or(m.inherit_option)::text), upper(bool_or(m.set_option)::text))
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
     WHERE r.rolname = $1 AND '\"' || replace(g.rolname, '\"', '\"\"') || '\"' <> $2
     GROUP BY g.rolname";

const MEMBERSHIPS_15: &str = "
    SELECT format('GRANT %I TO %s%s', g.rolname, $2, CASE WHEN bool_or(m.admin_option) THEN ' WITH ADMIN OPTION' ELSE '' END)
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
     WHERE r.rolname = $1 AND '\"' || replace(g.rolname, '\"', '\"\"') || '\"' <> $2
     GROUP BY g.rolname";

/// Every catalogue with privileges, in this database and shared. What an owner has is its ownership. Most objects have the built-in privileges: their names are
/// not even made, for there may be a million columns.
const PRIVILEGES: &str = "
    WITH role AS (SELECT oid FROM pg_roles WHERE rolname = $1),
    objects (kind, name, attribute, owner, acl) AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, NULL::text, relowner, relacl FROM pg_class WHERE relacl IS NOT NULL AND relpersistence <> 't'
        UNION ALL SELECT 'TABLE', c.oid::regclass::text, a.attname::text, c.relowner, a.attacl
                    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
        UNION ALL SELECT 'SCHEMA', quote_ident(nspname), NULL, nspowner, nspacl FROM pg_namespace
        UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, NULL, proowner, proacl FROM pg_proc WHERE proacl IS NOT NULL
        UNION ALL SELECT 'TYPE', oid::regtype::text, NULL, typowner, typacl FROM pg_type WHERE typacl IS NOT NULL
        UNION ALL SELECT 'LARGE OBJECT', oid::text, NULL, lomowner, lomacl FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL
        UNION ALL SELECT 'LANGUAGE', quote_ident(lanname), NULL, lanowner, lanacl FROM pg_language
        UNION ALL SELECT 'FOREIGN DATA WRAPPER', quote_ident(fdwname), NULL, fdwowner, fdwacl FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'FOREIGN SERVER', quote_ident(srvname), NULL, srvowner, srvacl FROM pg_foreign_server
        UNION ALL SELECT 'DATABASE', quote_ident(datname), NULL, datdba, datacl FROM pg_database
        UNION ALL SELECT 'TABLESPACE', quote_ident(spcname), NULL, spcowner, spcacl FROM pg_tablespace
        UNION ALL SELECT 'PARAMETER', parname, NULL, 0, paracl FROM pg_parameter_acl
    )
    SELECT format('GRANT %s%s ON %s %s TO %s%s', x.privilege_type, ' (' || quote_ident(o.attribute) || ')', o.kind, o.name, $2,
                  CASE WHEN bool_or(x.is_grantable) THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM objects o CROSS JOIN role CROSS JOIN LATERAL aclexplode(o.acl) x
     WHERE x.grantee = role.oid AND o.owner <> role.oid
     GROUP BY x.privilege_type, o.attribute, o.kind, o.name";

const DEFAULTS_FOR: &str = "
    SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %s%s', maker.rolname, ' IN SCHEMA ' || quote_ident(n.nspname), x.privilege_type,
                  CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
                                       ELSE 'LARGE OBJECTS' END,
                  $2, CASE WHEN bool_or(x.is_grantable) THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM pg_default_acl d JOIN pg_roles maker ON maker.oid = d.defaclrole JOIN pg_roles r ON r.rolname = $1 LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
     CROSS JOIN LATERAL aclexplode(d.defaclacl) x
     WHERE x.grantee = r.oid AND d.defaclrole <> r.oid
     GROUP BY maker.rolname, n.nspname, x.privilege_type, d.defaclobjtype";

/// A role's own default privileges: for all schemas they stand in place of the built-in ones, so that something may have been taken away.
const DEFAULTS_BY: &str = "
    WITH role AS (SELECT oid FROM pg_roles WHERE rolname = $1),
    kinds (kind, builtin, word) AS (VALUES ('r'::\"char\", 'r'::\"char\", 'TABLES'), ('S', 's', 'SEQUENCES'), ('f', 'f', 'FUNCTIONS'), ('T', 'T', 'TYPES'), ('n', 'n', 'SCHEMAS'),
                                           ('L', 'L', 'LARGE OBJECTS')),
    made AS (SELECT d.defaclnamespace, k.word, x.grantee, x.privilege_type, x.is_grantable
               FROM pg_default_acl d JOIN role ON role.oid = d.defaclrole JOIN kinds k ON k.kind = d.defaclobjtype CROSS JOIN LATERAL aclexplode(d.defaclacl) x),
    builtin AS (SELECT d.defaclnamespace, k.word, x.grantee, x.privilege_type, x.is_grantable
                  FROM pg_default_acl d JOIN role ON role.oid = d.defaclrole JOIN kinds k ON k.kind = d.defaclobjtype
                 CROSS JOIN LATERAL aclexplode(acldefault(k.builtin, d.defaclrole)) x
                 WHERE d.defaclnamespace = 0),
    changes AS (SELECT 'GRANT' AS verb, 'TO' AS preposition, * FROM (TABLE made EXCEPT TABLE builtin) AS added
                UNION ALL SELECT 'REVOKE', 'FROM', * FROM (TABLE builtin EXCEPT TABLE made) AS taken)
    SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s %s %s ON %s %s %s%s', $2, ' IN SCHEMA ' || quote_ident(n.nspname), c.verb, c.privilege_type, c.word, c.preposition,
                  CASE WHEN c.grantee = 0 THEN 'PUBLIC' WHEN c.grantee = role.oid THEN $2 ELSE quote_ident(pg_get_userbyid(c.grantee)) END,
                  CASE WHEN c.verb = 'GRANT' AND c.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM changes c CROSS JOIN role LEFT JOIN pg_namespace n ON n.oid = c.defaclnamespace";

/// Settings of a role: database or null for all, and `name=value`.
pub(super) const SETTINGS: &str = "
    SELECT d.datname::text, setting
      FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN LATERAL unnest(s.setconfig) AS setting
     WHERE r.rolname = $1";

/// Policies that name the first and not the second.
pub(super) const POLICIES: &str = "
    SELECT format('the policy %I of %s names %s only', p.polname, p.polrelid::regclass, a.rolname),
           format('ALTER POLICY %I ON %s TO %s, %I', p.polname, p.polrelid::regclass,
                  (SELECT string_agg(quote_ident(pg_get_userbyid(named)), ', ' ORDER BY named) FROM unnest(p.polroles) AS named), b.rolname)
      FROM pg_policy p, pg_roles a, pg_roles b
     WHERE a.rolname = $1 AND b.rolname = $2 AND a.oid = ANY (p.polroles) AND NOT b.oid = ANY (p.polroles)
     ORDER BY 1";

/// Policies that name the second only, and those that ask who is connected.
pub(super) const POLICY_NOTES: &str = "
    SELECT format('the policy %I of %s names only %s', p.polname, p.polrelid::regclass, b.rolname), NULL::text
      FROM pg_policy p, pg_roles a, pg_roles b
     WHERE a.rolname = $1 AND b.rolname = $2 AND b.oid = ANY (p.polroles) AND NOT a.oid = ANY (p.polroles)
    UNION ALL
    SELECT format('the policy %I of %s asks for the name of the user: both names must be right in it', p.polname, p.polrelid::regclass), NULL::text
      FROM pg_policy p WHERE concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid)) ~* '\\m(current_user|session_user|current_role)\\M'
     ORDER BY 1";

/// A lower limit of connections, user mappings, and other databases, as the shared catalogue shows them.
pub(super) const OTHERS: &str = "
    WITH a AS (SELECT * FROM pg_roles WHERE rolname = $1), b AS (SELECT * FROM pg_roles WHERE rolname = $2)
    SELECT format('%s may have %s connections, %s only %s', a.rolname, CASE a.rolconnlimit WHEN -1 THEN 'any number of' ELSE a.rolconnlimit::text END, b.rolname, b.rolconnlimit),
           format('ALTER ROLE %I CONNECTION LIMIT %s', b.rolname, a.rolconnlimit)
      FROM a, b WHERE b.rolconnlimit <> -1 AND (a.rolconnlimit = -1 OR b.rolconnlimit < a.rolconnlimit)
    UNION ALL
    SELECT format('%s has a user mapping for the server %s, %s has none: CREATE USER MAPPING FOR %I SERVER %I with the same options', a.rolname, m.srvname, b.rolname, b.rolname,
                  m.srvname), NULL
      FROM a, b, pg_user_mappings m WHERE m.umuser = a.oid AND NOT EXISTS (SELECT FROM pg_user_mappings n WHERE n.umuser = b.oid AND n.srvid = m.srvid)
    UNION ALL
    SELECT format('in the database %s, %s objects name %s and not %s (privileges, policies): compare there, too', d.datname, count(*), a.rolname, b.rolname), NULL
      FROM a, b, pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
     WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = a.oid AND d.datname <> current_database() AND s.deptype <> 'o'
       AND NOT EXISTS (SELECT FROM pg_shdepend t WHERE t.refclassid = s.refclassid AND t.refobjid = b.oid
                          AND (t.dbid, t.classid, t.objid, t.objsubid, t.deptype) = (s.dbid, s.classid, s.objid, s.objsubid, s.deptype))
     GROUP BY d.datname, a.rolname, b.rolname";

/// What the first owns in other databases. Temporary tables are among it, which come and go.
pub(super) const OWNED_ELSEWHERE: &str = "
    SELECT format('in the database %s, %s itself owns %s objects: compare there, too', d.datname, a.rolname, count(*)), NULL::text
      FROM pg_roles a, pg_roles b, pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
     WHERE a.rolname = $1 AND b.rolname = $2 AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = a.oid AND s.deptype = 'o' AND d.datname <> current_database()
     GROUP BY d.datname, a.rolname";

/// The group that the first acts as: the role of its own `SET role`, if it cannot log in.
pub(super) const GROUP: &str = "
    SELECT g.rolname::text
      FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN LATERAL unnest(s.setconfig) AS setting JOIN pg_roles g ON 'role=' || g.rolname = setting
     WHERE r.rolname = $1 AND NOT g.rolcanlogin AND pg_has_role(r.oid, g.oid, 'MEMBER')
       AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
     ORDER BY s.setdatabase DESC LIMIT 1";

/// What a role owns here and of the shared objects, but for what follows its table, its own default privileges, user mappings, and what is temporary.
pub(super) const OWNED: &str = "
    SELECT i.type, i.identity
      FROM pg_shdepend s CROSS JOIN LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) i
     WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1) AND s.deptype = 'o'
       AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
       AND s.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
       AND i.identity IS NOT NULL AND coalesce(i.schema, '') !~ '^\"?pg_(toast_)?temp'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.objid AND s.classid = d.classid AND d.refclassid = d.classid
                          AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
     ORDER BY 1, 2 LIMIT $2";
