//! Whose an archive is: of which Kafka cluster, and which collection it was when it was counted.
//!
//! A small document for each stream says so in MongoDB, beside the archives, so that a changed
//! configuration, or a second cluster that was given the same database, is told at the start. What is
//! counted in Redis bears the origin's name, so that a collection that was dropped is counted anew.

use std::fmt;

use aguacero::config::{ARCHIVES, Stream};
use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, error::Error};

use super::{Archive, in_time};

/// What a stream's counters are counted from. `Display` is how Redis keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// Database and collection.
    pub archive: String,
    /// MongoDB's id of the collection, another one each time that it is made.
    pub uuid: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.archive, self.uuid)
    }
}

impl Origin {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, uuid) = text.rsplit_once('/')?;
        let (cluster, archive) = rest.split_once('/')?;
        Some(Self {
            cluster: cluster.to_owned(),
            archive: archive.to_owned(),
            uuid: uuid.to_owned(),
        })
    }

    /// Whether `other` is this archive, perhaps with a collection that was made again or renamed, and not
    /// somebody else's.
    #[must_use]
    pub fn is_ours(&self, other: &Self) -> bool {
        self.cluster == other.cluster && (self.archive == other.archive || self.uuid == other.uuid)
    }
}

impl Archive {
    /// The origin of each stream; none where the collection is not there. `cluster` is Kafka's id.
    pub async fn origins(&self, cluster: &str) -> Result<Vec<Option<Origin>>, Error> {
        let database = self.client.database(&self.config.mongodb.database);
        let names: Vec<_> = self.collections.iter().map(|c| c.name()).collect();
        let ask = async {
            let list = database.list_collections();
            let list = list.filter(doc! { "name": { "$in": names } }).await?;
            list.try_collect::<Vec<_>>().await
        };
        let there = in_time(ask).await?;
        let uuid = |name: &str| {
            let found = there.iter().find(|c| c.name == name)?;
            Some(hex(found.info.uuid.as_ref()?))
        };
        let origin = |stream: &Stream| {
            Some(Origin {
                cluster: cluster.to_owned(),
                archive: format!("{}.{}", self.config.mongodb.database, stream.archive),
                uuid: uuid(&stream.archive)?,
            })
        };
        Ok(self.config.streams.iter().map(origin).collect())
    }

    /// Notes whose the archive of `stream` is, where nobody has, and says if it was somebody else's.
    pub async fn claim(&self, stream: &Stream, ours: &Origin) -> Result<Option<String>, Error> {
        let noted = self.noted(stream).await?;
        if let Some(theirs) = noted.as_ref().filter(|noted| !noted.is_ours(ours)) {
            return Ok(Some(explain(&stream.name, theirs, ours)));
        }
        if noted.as_ref() != Some(ours) {
            self.adopt(stream, ours).await?;
        }
        Ok(None)
    }

    /// Whose the archive of `stream` was until now, if anybody has noted it.
    async fn noted(&self, stream: &Stream) -> Result<Option<Origin>, Error> {
        let noted = in_time(self.marks().find_one(doc! { "_id": &stream.name })).await?;
        Ok(noted.as_ref().and_then(read))
    }

    /// Says of which streams the archive is somebody else's; changes nothing.
    pub(super) async fn foreign(&self, cluster: &str) -> Result<Vec<String>, Error> {
        let origins = self.origins(cluster).await?;
        let mut foreign = Vec::new();
        for (stream, ours) in self.config.streams.iter().zip(origins) {
            let database = &self.config.mongodb.database;
            // A collection that is not there yet is another one than any.
            let ours = ours.unwrap_or_else(|| Origin {
                cluster: cluster.to_owned(),
                archive: format!("{database}.{}", stream.archive),
                uuid: String::new(),
            });
            let noted = self.noted(stream).await?;
            let theirs = noted.filter(|noted| !noted.is_ours(&ours));
            foreign.extend(theirs.map(|theirs| explain(&stream.name, &theirs, &ours)));
        }
        Ok(foreign)
    }

    /// Notes that the archive of `stream` is ours, whosever it was.
    pub async fn adopt(&self, stream: &Stream, ours: &Origin) -> Result<(), Error> {
        let mark = doc! { "cluster": &ours.cluster, "archive": &ours.archive, "uuid": &ours.uuid };
        let marks = self.marks();
        let update = marks.update_one(doc! { "_id": &stream.name }, doc! { "$set": mark });
        in_time(update.upsert(true)).await.map(drop)
    }

    fn marks(&self) -> Collection<Document> {
        let database = self.client.database(&self.config.mongodb.database);
        database.collection_with_options(ARCHIVES, self.concerns.clone())
    }
}

fn read(mark: &Document) -> Option<Origin> {
    let text = |field| mark.get_str(field).ok().map(str::to_owned);
    Some(Origin {
        cluster: text("cluster")?,
        archive: text("archive")?,
        uuid: text("uuid")?,
    })
}

/// What is wrong, and how to mend it.
fn explain(stream: &str, theirs: &Origin, ours: &Origin) -> String {
    if theirs.cluster == ours.cluster {
        return format!(
            "stream {stream} was archived in the collection {} until now, and the configuration says {}: events that are sent \
             again would be stored twice. Name the old one, or rename it in MongoDB (renameCollection); to leave its \
             documents where they are, uncounted: `consumer rebuild {stream} --adopt`",
            theirs.archive, ours.archive
        );
    }
    format!(
        "stream {stream} of {} belongs to the Kafka cluster {}, and this one is {}. Give each its own database in MongoDB and \
         in Redis; if the cluster was replaced for good: `consumer rebuild {stream} --adopt`",
        theirs.archive, theirs.cluster, ours.cluster
    )
}

/// The same of what Redis shows.
#[must_use]
pub fn explain_counters(stream: &str, theirs: &Origin, ours: &Origin) -> String {
    format!(
        "Redis shows counters of a stream {stream} that were counted from {} for the Kafka cluster {}, and this is {} for {}: \
         another system uses this Redis, or the archive was another one. Give each system its own database in Redis, or \
         name the old archive; if it is gone for good: `consumer rebuild {stream} --adopt`",
        theirs.archive, theirs.cluster, ours.archive, ours.cluster
    )
}

fn hex(uuid: &Binary) -> String {
    uuid.bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
