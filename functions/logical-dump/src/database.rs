//! One database, from its locks to its manifest.

use std::collections::{BTreeMap, HashMap};

use shared::archive::toc::Toc;
use shared::archive::{DataFile, TableData, add_table_data, schema_fingerprint, sequences};
use shared::compression::Compression;
use shared::digest::Content;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST};
use shared::lambda::Deployment;
use shared::manifest::{self, InRootOrder, LeftOut, Lifeboat, Manifest, Object, Server, Table, TableName};
use shared::store::Store;
use shared_postgres::client_program::ClientPrograms;
use shared_postgres::session::{self, Limits};
use shared_postgres::{Access, ContextSql};
use sqlx::Row;

use crate::catalog::{Kind, Relation};
use crate::config::Config;
use crate::copy::{self, Copied, Route, Task};
use crate::holder::{Holder, Wanted};
use crate::own_files::{self, OwnFiles};
use crate::pg_dump::{self, Order};
use crate::scratch;

/// What all databases of a run have in common.
pub struct Common<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Where we run.
    pub deployment: &'a Deployment,
    /// The server.
    pub access: &'a Access,
    /// pg_dump and its like.
    pub programs: &'a ClientPrograms,
    /// The bucket.
    pub store: &'a Store,
    /// Name of the sessions of this run.
    pub application_name: &'a str,
    /// `server_version_num` / 10000.
    pub server_major: u32,
    /// Roles of the instance, as SQL.
    pub globals: &'a [u8],
    /// When the run began.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// The time, for the manifest.
    pub clock: &'a (dyn Fn() -> chrono::DateTime<chrono::Utc> + Send + Sync),
    /// A snapshot to import.
    pub snapshot: Option<&'a str>,
    /// Whether what cannot be read is left out.
    pub allow_missing: bool,
}

/// A database that was dumped.
pub struct Dumped {
    /// What was stored.
    pub manifest: Manifest,
    /// Bytes of COPY text before compression.
    pub text_bytes: u64,
    /// What was found on the way.
    pub findings: Vec<Finding>,
}

impl Common<'_> {
    fn limits(&self) -> Limits {
        Limits { lock_wait_ms: u64::try_from(self.config.lock_wait.as_millis()).unwrap_or(u64::MAX), server_major: self.server_major }
    }

    /// Readers of archives made for servers before 16 are not certain to know zstd and slices (see `shared::archive`).
    fn compression(&self) -> Compression {
        match self.config.compression {
            Compression::Zstd(_) if self.server_major < 16 => Compression::Gzip(6),
            other => other,
        }
    }

    fn slice_bytes(&self) -> Option<u64> {
        (self.server_major >= 16).then_some(self.config.slice_bytes)
    }

    /// Locks the tables of a database and takes its snapshot.
    ///
    /// # Errors
    /// See [`Holder::open`].
    pub async fn hold(&self, database: &str) -> Result<Holder, Failure> {
        let wanted = Wanted {
            database,
            application_name: self.application_name,
            snapshot: self.snapshot,
            allow_missing: self.allow_missing,
            limits: self.limits(),
        };
        Holder::open(self.access, wanted).await
    }

    /// The objects that the tables of a database make.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn plan(&self, holder: &mut Holder) -> Result<Vec<Task>, Failure> {
        let page_bytes: i64 = sqlx::query_scalar("SELECT current_setting('block_size')::bigint")
            .fetch_one(holder.connection())
            .await
            .context_sql("ask for the size of a page")?;
        let page_bytes = u64::try_from(page_bytes).unwrap_or(8192);
        Ok(tables(holder).flat_map(|relation| copy::tasks(relation, self.slice_bytes(), page_bytes)).collect())
    }

    /// Dumps a database. Nothing counts until the manifest is there, and that is the last thing written.
    ///
    /// # Errors
    /// When any part fails; what was stored so far lies without a manifest and is no backup.
    pub async fn dump(&self, archive: &ArchiveKey) -> Result<Dumped, Failure> {
        let database = &archive.database;
        let mut holder = self.hold(database).await?;
        let session = session::describe(holder.connection()).await?;
        let server = describe_server(&mut holder, self.server_major).await?;
        let unreadable_large_objects = unreadable_large_objects(&mut holder).await?;
        if let Some((oids, count)) = unreadable_large_objects.as_ref().filter(|_| !self.allow_missing) {
            return Err(large_object_failure(oids, *count, &self.access.user));
        }
        let tasks = self.plan(&mut holder).await?;
        let files = files_by_table(&tasks);
        let folder = scratch::folder()?;
        let patterns = |relations: &[Relation]| relations.iter().map(|relation| relation.pattern.clone()).collect::<Vec<_>>();
        let without_rows: Vec<String> = tables(&holder).map(|relation| relation.pattern.clone()).collect();
        let without = patterns(&holder.left_out);
        let order = Order {
            database,
            application_name: self.application_name,
            snapshot: &holder.snapshot,
            server_major: self.server_major,
            compression: self.compression(),
            lock_wait_ms: self.limits().lock_wait_ms,
            sql_ascii: session.client_encoding == "SQL_ASCII",
            without_rows: &without_rows,
            without: &without,
            without_large_objects: unreadable_large_objects.is_some(),
        };
        let route = Route {
            access: self.access.clone(),
            application_name: self.application_name.to_owned(),
            archive: archive.clone(),
            snapshot: holder.snapshot.clone(),
            limits: self.limits(),
            compression: self.compression(),
            store: self.store.clone(),
        };
        let (warnings, copied) = tokio::try_join!(
            pg_dump::dump(self.programs, self.access, order, folder.path()),
            copy::copy_all(&route, tasks, self.config.connections)
        )?;
        let mut findings = std::mem::take(&mut holder.findings);
        findings.extend(warnings);
        if let Some((oids, count)) = unreadable_large_objects {
            findings.push(Finding::new(
                FindingKind::TableLeftOut,
                database,
                format!("all large objects: {count} of them, {oids} among them, cannot be read"),
            ));
        }

        let own_folder = folder.path().join("archive");
        let OwnFiles { mut toc, tables: own_tables, large_objects, names } = {
            let own_folder = own_folder.clone();
            tokio::task::spawn_blocking(move || own_files::read(&own_folder))
                .await
                .map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("read what pg_dump wrote"))??
        };
        let table_data: Vec<TableData> = tables(&holder).filter_map(|relation| Some(table_data(relation, files.get(&relation.oid)?))).collect();
        add_table_data(&mut toc, &table_data)
            .map_err(|message| Failure::new(FailureKind::Corrupt, message).context("write the table of contents"))?;
        let text_bytes = copied.iter().map(|copied| copied.text_bytes).sum();
        let mut tables_done = manifest_tables(&holder, &files, &copied);
        tables_done.extend(own_tables);
        let mut objects: Vec<Object> = copied.into_iter().map(|copied| copied.object).collect();
        for name in &names {
            objects.push(own_files::store(self.store, archive, &own_folder, name).await?);
        }
        objects.push(self.put(archive, "globals.sql", self.globals.to_vec(), "application/sql").await?);
        objects.push(self.put(archive, "toc.dat", toc.write(), "application/octet-stream").await?);
        objects.sort_by(|a, b| a.name.cmp(&b.name));

        let left_out = left_out(&holder, &mut findings);
        let snapshot_at = holder.snapshot_at;
        let wal_lsn = holder.wal_lsn.clone();
        holder.finish().await.context("the locks and the snapshot were lost on the way")?;
        let manifest = Manifest {
            format: manifest::FORMAT,
            instance: archive.instance.clone(),
            database: database.clone(),
            run_id: archive.run_id.clone(),
            scheduled_at: archive.slot,
            started_at: self.started_at,
            snapshot_at,
            finished_at: (self.clock)(),
            lifeboat: Lifeboat { version: shared::VERSION.to_owned(), git_sha: self.deployment.git_sha.clone() },
            server: Server { wal_lsn, ..server },
            session,
            pg_dump_version: pg_dump_version(&toc),
            toc_version: toc.version.to_string(),
            compression: self.compression(),
            tables: tables_done,
            large_objects,
            sequences: sequences(&toc).map_err(|message| Failure::new(FailureKind::Corrupt, message))?,
            schema_fingerprint: schema_fingerprint(&toc),
            left_out,
            objects,
            checksum: String::new(),
        };
        self.compare_listing(archive, &manifest).await?;
        let bytes = manifest.clone().seal().context("write the manifest")?;
        self.store.put(&archive.object(MANIFEST), bytes, "application/json").await?;
        Ok(Dumped { manifest, text_bytes, findings })
    }

    async fn put(&self, archive: &ArchiveKey, name: &str, bytes: Vec<u8>, content_type: &str) -> Result<Object, Failure> {
        let stored = self.store.put(&archive.object(name), bytes, content_type).await?;
        Ok(Object { name: name.to_owned(), size_bytes: stored.size_bytes, sha256: stored.sha256, version_id: stored.version_id })
    }

    /// Before the manifest says that everything is there: is it?
    async fn compare_listing(&self, archive: &ArchiveKey, manifest: &Manifest) -> Result<(), Failure> {
        let prefix = archive.prefix();
        let listed: BTreeMap<String, u64> =
            self.store.list(&prefix).await?.into_iter().map(|object| (object.key[prefix.len()..].to_owned(), object.size_bytes)).collect();
        let expected: BTreeMap<String, u64> = manifest.objects.iter().map(|object| (object.name.clone(), object.size_bytes)).collect();
        if listed == expected {
            return Ok(());
        }
        let differs = expected.iter().find(|(name, size)| listed.get(*name) != Some(size)).map(|(name, _)| name);
        let differs = differs.or_else(|| listed.keys().find(|name| !expected.contains_key(*name))).cloned().unwrap_or_default();
        Err(Failure::new(FailureKind::Corrupt, format!("{} is not in the bucket as it was stored", archive.object(&differs))))
    }
}

/// The tables that have rows of their own.
fn tables(holder: &Holder) -> impl Iterator<Item = &Relation> {
    holder.relations.iter().filter(|relation| relation.kind == Kind::Table)
}

fn files_by_table(tasks: &[Task]) -> HashMap<u32, Vec<String>> {
    let mut files: HashMap<u32, Vec<String>> = HashMap::new();
    for task in tasks {
        files.entry(task.oid).or_default().push(task.file.clone());
    }
    files
}

fn table_data(relation: &Relation, files: &[String]) -> TableData {
    let target = relation.load_through.as_ref().map_or(&relation.quoted, |root| &root.quoted);
    TableData {
        oid: relation.oid,
        // pg_dump writes the space before an empty column list too.
        copy_target: if relation.quoted_columns.is_empty() { format!("{target} ") } else { format!("{target}{}", relation.column_list()) },
        root_oid: relation.load_through.as_ref().map(|root| root.oid),
        files: files.iter().map(|name| DataFile { name: name.clone() }).collect(),
    }
}

fn manifest_tables(holder: &Holder, files: &HashMap<u32, Vec<String>>, copied: &[Copied]) -> Vec<Table> {
    let by_file: HashMap<&str, &Copied> = copied.iter().map(|copied| (copied.file.as_str(), copied)).collect();
    tables(holder)
        .map(|relation| {
            let parts: Vec<&Copied> = files.get(&relation.oid).into_iter().flatten().filter_map(|file| by_file.get(file.as_str()).copied()).collect();
            let (mut content, mut in_root_order) = (Content::default(), Content::default());
            for part in &parts {
                content.merge(part.content);
                in_root_order.merge(part.in_root_order);
            }
            Table {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
                oid: relation.oid,
                columns: relation.columns.clone(),
                content,
                objects: parts.iter().map(|part| part.object.name.clone()).collect(),
                in_root_order: relation
                    .load_through
                    .as_ref()
                    .filter(|_| relation.root_order().is_some())
                    .map(|root| InRootOrder { columns: root.columns.clone(), digest: in_root_order.digest }),
                through_root: relation.load_through.as_ref().map(|root| TableName { schema: root.schema.clone(), name: root.name.clone() }),
                by_pg_dump: false,
            }
        })
        .collect()
}

/// What exists and is not in the backup, for the manifest; foreign tables are said in the report too.
fn left_out(holder: &Holder, findings: &mut Vec<Finding>) -> Vec<LeftOut> {
    let mut left_out: Vec<LeftOut> = holder
        .left_out
        .iter()
        .map(|relation| LeftOut { what: relation.quoted.clone(), why: "the role cannot read it, and the request allowed that".to_owned() })
        .collect();
    for relation in holder.relations.iter().filter(|relation| relation.kind == Kind::Foreign) {
        left_out.push(LeftOut { what: relation.quoted.clone(), why: "foreign table: its definition is here, its rows are elsewhere".to_owned() });
        findings.push(Finding::new(
            FindingKind::ForeignTableData,
            &relation.quoted,
            "a foreign table: its definition is in the backup, its rows are not",
        ));
    }
    left_out
}

async fn describe_server(holder: &mut Holder, major: u32) -> Result<Server, Failure> {
    let row = sqlx::query(
        "SELECT current_setting('server_version'), current_setting('server_encoding'), datcollate::text, datctype::text
           FROM pg_catalog.pg_database WHERE datname = current_database()",
    )
    .fetch_one(holder.connection())
    .await
    .context_sql("describe the server")?;
    let text = |index: usize| row.try_get::<String, _>(index).context_sql("describe the server");
    Ok(Server { version: text(0)?, major, encoding: text(1)?, collate: text(2)?, ctype: text(3)?, wal_lsn: String::new() })
}

/// Large objects that our role cannot read: some of their oids, and how many. pg_dump would abort on the first.
async fn unreadable_large_objects(holder: &mut Holder) -> Result<Option<(String, i64)>, Failure> {
    let row = sqlx::query(
        "SELECT coalesce(string_agg(oid::text, ', ') FILTER (WHERE number <= 5), ''), count(*) FROM (
           SELECT oid, row_number() OVER (ORDER BY oid) AS number FROM pg_catalog.pg_largeobject_metadata
            WHERE NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
              AND current_setting('lo_compat_privileges') = 'off' AND NOT pg_catalog.pg_has_role(lomowner, 'USAGE')
              AND NOT EXISTS (SELECT FROM aclexplode(lomacl) WHERE privilege_type = 'SELECT' AND (grantee = 0 OR pg_catalog.pg_has_role(grantee, 'USAGE')))
         ) AS unreadable",
    )
    .fetch_one(holder.connection())
    .await
    .context_sql("list large objects")?;
    let (oids, count): (String, i64) = (row.get(0), row.get(1));
    Ok((count > 0).then_some((oids, count)))
}

fn large_object_failure(oids: &str, count: i64, user: &str) -> Failure {
    let role = shared_postgres::proof::quote(user);
    Failure::new(FailureKind::Denied, format!("{user} cannot read {count} large objects, {oids} among them")).hint(format!(
        "GRANT SELECT ON LARGE OBJECT {oids} TO {role}; or make {role} a member of their owner: before PostgreSQL 19, pg_read_all_data does not cover large objects"
    ))
}

fn pg_dump_version(toc: &Toc) -> String {
    toc.pg_dump_version.as_deref().map(shared::archive::toc::lossy).unwrap_or_default()
}
