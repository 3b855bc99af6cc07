//! The jobs of the driver: making bodies, opening them, rebuilding values. Each is a function of committed state and stored bytes, so that it
//! can be done again after anything; none keeps more of a value in memory than it needs at a time.

use std::rc::Rc;

use js_sys::Uint8Array;
use protocol::{
    book::Book,
    bundle::{self, ValueMeta},
    crypto::{CryptoError, Hasher, blake3},
    envelope::Envelope,
    ids::{BackupId, DepositId, Root},
    layout::{Draft, GatherError, Layout},
    plan::Place,
    program::{Piece, Work},
    seal::CHUNK,
};
use rand_core::Rng;
use web_sys::Blob;
use zeroize::Zeroizing;

use crate::{
    book,
    exchange::{self, Meaning},
    keeping::{keep, write_file, write_part},
    machine::{Event, Prepared, WalletError, WriteChapter},
    proving,
    state::{Backup, Content, Deposit, Operation},
    vault::VaultError,
    web::{
        bulk::{self, Reader, Writer},
        driver::{Driver, Open, fresh_rng, now},
        error::{EngineError, UNKNOWN},
        net,
    },
};

/// A bundle that is read from the blobs of its values, from the front to the back.
struct BundleReader {
    head: Vec<u8>,
    contents: Vec<(usize, Reader)>,
}

impl BundleReader {
    /// Appends the bytes from `from` to `to`.
    async fn read(&mut self, from: usize, to: usize, out: &mut Vec<u8>) -> Result<(), EngineError> {
        let head = self.head.len();
        if from < head {
            out.extend_from_slice(&self.head[from..to.min(head)]);
        }
        let mut start = head;
        for (length, reader) in &mut self.contents {
            let end = start + *length;
            if from.max(start) < to.min(end) {
                let range = from.max(start) - start..to.min(end) - start;
                reader.read(range, out).await.map_err(|_| VaultError::Damaged)?;
            }
            start = end;
        }
        Ok(())
    }
}

/// A value that is being put back.
pub(crate) struct Arriving {
    meta: ValueMeta,
    blob: String,
    writer: Writer,
    hasher: Hasher,
}

impl Arriving {
    async fn finish(self) -> Result<Unpacked, EngineError> {
        let Self { meta, blob, writer, hasher } = self;
        let sealed = writer.finish().await?;
        let (length, root) = (meta.length, Some(Root(hasher.finish())));
        Ok(Unpacked { meta, content: Content { blob, length, root }, sealed })
    }
}

/// A value that is back, sealed for this device.
#[derive(Clone)]
pub(crate) struct Unpacked {
    meta: ValueMeta,
    content: Content,
    sealed: Uint8Array,
}

/// The pieces in a body, opened as a safe's answer would be.
async fn unpack(layout: &Layout, deposit: &Deposit, body: &Uint8Array) -> Result<Vec<Piece>, EngineError> {
    let sealer = Envelope::sealer(&deposit.d, &deposit.id, &bulk::header_of(body)).map_err(|_| CryptoError)?;
    let plain = Reader::new(sealer, body.clone()).await?.read_all().await?;
    let envelope = Envelope::of_plain(plain).map_err(|_| CryptoError)?;
    Ok(layout.unpack(deposit.slot(), &envelope).map_err(|_| CryptoError)?)
}

impl Driver {
    // ---- making ----------------------------------------------------------------------------------------------

    async fn bundle(&self, backup: &Backup) -> Result<BundleReader, EngineError> {
        let mut contents = Vec::with_capacity(backup.sources.len());
        for source in &backup.sources {
            // Segments are made one after the other, and reading a blob costs as much as making one.
            let kept = self.with(|open| open.bulk.sources.get(&source.blob).cloned())?;
            let sealed = match kept {
                Some(sealed) => sealed,
                None => self.store.blob_array(&source.blob).await?.ok_or(VaultError::Damaged)?,
            };
            self.with(|open| open.bulk.sources.insert(source.blob.clone(), sealed.clone()))?;
            contents.push((source.length as usize, self.open_reader(source, sealed).await?));
        }
        Ok(BundleReader { head: bundle::head(&backup.values), contents })
    }

    /// Reads a blob.
    async fn reader(&self, content: &Content) -> Result<Reader, EngineError> {
        let sealed = self.store.blob_array(&content.blob).await?.ok_or(VaultError::Damaged)?;
        self.open_reader(content, sealed).await
    }

    async fn open_reader(&self, content: &Content, sealed: Uint8Array) -> Result<Reader, EngineError> {
        let header = bulk::header_of(&sealed);
        let opener = self.with(|open| open.vault.blob_opener(&content.blob, &header))?;
        Ok(Reader::new(opener.map_err(|_| VaultError::Damaged)?, sealed).await?)
    }

    /// Does a program, with the platform's cipher for what is long.
    async fn compute(&self, work: &mut Work<'_>) -> Result<(), GatherError> {
        while let Some(task) = work.go_on()? {
            let done = bulk::run(task).await.map_err(|_| CryptoError);
            work.done(done)?;
        }
        Ok(())
    }

    /// What is made of one segment; the bodies stay at hand. Where nothing is to remain here, or nobody can try it later, the segment is rebuilt
    /// from the bodies first.
    pub(crate) async fn prepare(&self, id: &BackupId, segment: u32) -> Result<Prepared, EngineError> {
        let prove = self.backup(id)?.is_proven_as_sent();
        if prove && segment > 0 && self.with(|open| !open.bulk.proven.contains_key(id))? {
            // The keys of all segments stand in the first.
            self.make_segment(id, 0, true).await?;
        }
        self.make_segment(id, segment, prove).await
    }

    async fn make_segment(&self, id: &BackupId, segment: u32, prove: bool) -> Result<Prepared, EngineError> {
        let backup = self.backup(id)?;
        let seed = backup.op_seed.as_ref().ok_or_else(|| EngineError::new((UNKNOWN, "Nothing to make.", None)))?;
        let layout = backup.layout().map_err(WalletError::from)?;
        let refused = |_| EngineError::new(("internal", "The pieces could not be made.", None));
        let (from, to) = layout.range(segment).ok_or(CryptoError)?;
        let mut content = Zeroizing::new(Vec::with_capacity((to - from) as usize));
        self.bundle(&backup).await?.read(from as usize, to as usize, &mut content).await?;
        let root = prove.then(|| blake3(&content));
        let program = layout.laying(segment);
        let mut work = Work::lay(&program, layout.context(Some(seed), backup.words.as_ref(), &[]), content);
        self.compute(&mut work).await.map_err(refused)?;
        let mut pieces = work.into_pieces();
        let mut prepared = Prepared { kept: keep(&layout, &Place::Book, &pieces), ..Prepared::default() };
        let filed = keep(&layout, &Place::File, &pieces);
        let filed_before = backup.file_saved != Some(false) || backup.file.iter().any(|(made, _)| *made == segment);
        if !filed.is_empty() && !filed_before {
            let part = write_part(&filed);
            prepared.file = Some((segment, self.keep_bytes(&part.0).await?));
        }
        drop(filed);
        // What stays with the owner is what he will have; the rest is read from the bodies.
        let own = [Place::Book, Place::File].map(|place| layout.pieces_at(&place, &pieces));
        let mut sent: Vec<Piece> = own.into_iter().flatten().filter(|_| prove).cloned().collect();
        for deposit in backup.deposits.iter().filter(|d| d.segment == segment) {
            let draft = Draft { slot: deposit.slot(), deposit: deposit.id, d: &deposit.d };
            let envelope = layout.envelope(seed, &draft, &pieces).map_err(|_| CryptoError)?;
            // They are in the envelope now.
            let place = deposit.slot().place();
            let paths: Vec<Vec<u8>> = layout.pieces_at(&place, &pieces).iter().map(|p| p.path.clone()).collect();
            pieces.retain(|piece| !paths.contains(&piece.path));
            let body = bulk::seal(envelope.sealer(), envelope.plain()).await?;
            drop(envelope);
            if prove {
                sent.extend(unpack(&layout, deposit, &body).await?);
            }
            let (root, length) = (Root(bulk::root_of(&body)), u64::from(body.length()));
            let blob = net::body_of(&body).ok_or(CryptoError)?;
            bulk::free(&body);
            self.with(|open| open.bulk.bodies.insert(deposit.id, blob))?;
            prepared.bodies.push((deposit.id, root, length));
        }
        if let Some(root) = root {
            self.prove(&backup, &layout, segment, &sent, root).await?;
        }
        Ok(prepared)
    }

    /// Rebuilds a segment from what was made of it, so often that everything has had its part.
    async fn prove(
        &self,
        backup: &Backup,
        layout: &Layout,
        segment: u32,
        sent: &[Piece],
        root: [u8; 32],
    ) -> Result<(), EngineError> {
        let failed = || EngineError::new(("internal", "What was made of it does not bring it back.", None));
        let mut keys = self.with(|open| open.bulk.proven.get(&backup.id).cloned())?.unwrap_or_default();
        let choices = proving::choices(layout, segment, &keys);
        if choices.is_empty() {
            return Err(failed());
        }
        for choice in choices {
            let program = layout.rebuilding(&choice);
            let pieces = proving::pieces_of(layout, &choice, sent);
            let mut work = Work::rebuild(&program, layout.context(None, backup.words.as_ref(), &keys), pieces);
            self.compute(&mut work).await.map_err(|_| failed())?;
            let (content, learned) = work.into_segment().map_err(|_| failed())?;
            if blake3(&content) != root {
                return Err(failed());
            }
            drop(program);
            for (path, key) in learned {
                if keys.iter().all(|(known, _)| *known != path) {
                    keys.push((path, key));
                }
            }
        }
        self.with(|open| drop(open.bulk.proven.insert(backup.id, keys)))
    }

    /// The body of a deposit: at hand, or after a restart made again from the seed, the same bytes.
    pub(crate) async fn body_of(&self, backup: &BackupId, deposit: &DepositId) -> Result<Blob, EngineError> {
        let at_hand = || self.with(|open| open.bulk.bodies.get(deposit).cloned());
        if let Some(body) = at_hand()? {
            return Ok(body);
        }
        // All safes ask for the same segment then; one makes it for all.
        let _one_at_a_time = self.making.lock().await;
        let gone = || EngineError::new((UNKNOWN, "The deposit is gone.", None));
        if at_hand()?.is_none() {
            let segment = self.backup(backup)?.deposit(deposit).map(|d| d.segment).ok_or_else(gone)?;
            self.make_segment(backup, segment, false).await?;
        }
        at_hand()?.ok_or_else(gone)
    }

    // ---- rebuilding ------------------------------------------------------------------------------------------

    /// Measures a body that came back, and opens it if it is the certified one.
    pub(crate) async fn open_body(
        &self,
        backup: &BackupId,
        deposit: &DepositId,
        body: Uint8Array,
    ) -> Result<Meaning, EngineError> {
        let (root, length) = (Root(bulk::root_of(&body)), u64::from(body.length()));
        let checked = self.with(|open| exchange::check_body(&open.state, backup, deposit, root, length))?;
        if let Err(lie) = checked {
            return Ok(lie);
        }
        let header = bulk::header_of(&body);
        let opener = self.with(|open| {
            let d = open.state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.d.clone());
            d.and_then(|d| Envelope::sealer(&d, deposit, &header).ok())
        })?;
        let plain = match opener {
            Some(opener) => Reader::new(opener, body.clone()).await?.read_all().await.ok(),
            None => None,
        };
        bulk::free(&body);
        self.with(|open| exchange::opened(&open.state, backup, deposit, plain))
    }

    /// Rebuilds a segment and takes from it what is wanted.
    pub(crate) async fn gather(self: &Rc<Self>, id: &BackupId, segment: u32) -> Result<(), EngineError> {
        let backup = self.backup(id)?;
        let layout = backup.layout().map_err(WalletError::from)?;
        let taken = self.with(|open| {
            let need = open.session.need(&backup, open.session.recoveries.get(id)?, segment, now());
            let choice = need.choice?;
            let recovery = open.session.recoveries.get_mut(id)?;
            let pieces = recovery.take(&backup, &layout, &choice);
            Some((choice, pieces, recovery.words.clone(), recovery.keys.clone()))
        })?;
        // Given up meanwhile.
        let Some((choice, pieces, words, keys)) = taken else { return Ok(()) };
        let program = layout.rebuilding(&choice);
        let mut work = Work::rebuild(&program, layout.context(None, words.as_ref(), &keys), pieces);
        let rebuilt = match self.compute(&mut work).await {
            Ok(()) => work.into_segment(),
            Err(error) => Err(error),
        };
        let (content, learned) = match rebuilt {
            Ok(rebuilt) => rebuilt,
            Err(error) => {
                let recovery = |open: &mut Open| open.session.recoveries.entry(*id).or_default().not_gathered(&error);
                return match self.with(recovery)? {
                    Ok(()) => Ok(()),
                    Err(why) => self.handle(Event::RecoveryFailed(*id, why)).await,
                };
            }
        };
        match self.arrive(&backup, &layout, segment, content).await {
            Ok(true) => self.with(|open| {
                let recovery = open.session.recoveries.entry(*id).or_default();
                recovery.gathered(&backup, &layout, segment, learned);
            }),
            Ok(false) => {
                let why = "the content is not what was backed up".to_owned();
                self.handle(Event::RecoveryFailed(*id, why)).await
            }
            Err(error) => {
                // What was taken from the segments before may be torn: all of them are fetched again.
                self.with(|open| {
                    open.bulk.arriving.remove(id);
                    open.session.recoveries.entry(*id).or_default().start_over();
                })?;
                Err(error)
            }
        }
    }

    /// Takes what is wanted from a rebuilt segment, in their order; `false`: it is not the bundle that the backup describes.
    async fn arrive(
        &self,
        backup: &Backup,
        layout: &Layout,
        segment: u32,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<bool, EngineError> {
        let (from, to) = layout.range(segment).ok_or(CryptoError)?;
        let within =
            |start: u64, end: u64| (start.clamp(from, to) - from) as usize..(end.clamp(from, to) - from) as usize;
        let head = bundle::head(&backup.values);
        let here = within(0, head.len() as u64);
        let stated = head.get(from as usize..).map(|rest| &rest[..here.len()]).unwrap_or_default();
        if content.get(here) != Some(stated) {
            return Ok(false);
        }
        let mut arriving = self.with(|open| open.bulk.arriving.remove(&backup.id))?.unwrap_or_default();
        for (meta, range) in bundle::ranges(&backup.values).filter(|(meta, _)| backup.is_wanted(&meta.id)) {
            let here = within(range.start, range.end);
            // What is empty lies in no segment.
            let begins = if range.is_empty() { segment == 0 } else { (from..to).contains(&range.start) };
            let known = arriving.iter().any(|value| value.meta.id == meta.id);
            if begins && !known {
                let (blob, writer) = self.writer(meta.length as usize).await?;
                arriving.push(Arriving { meta: meta.clone(), blob, writer, hasher: Hasher::default() });
            }
            let value = arriving.iter_mut().find(|value| value.meta.id == meta.id);
            if let Some((value, bytes)) = value.zip(content.get(here)) {
                value.hasher.update(bytes);
                value.writer.push(bytes).await?;
            }
        }
        self.with(|open| drop(open.bulk.arriving.insert(backup.id, arriving)))?;
        Ok(true)
    }

    pub(crate) async fn finish(self: &Rc<Self>, id: &BackupId) -> Result<(), EngineError> {
        if let Some(arriving) = self.with(|open| open.bulk.arriving.remove(id))? {
            let mut values = Vec::with_capacity(arriving.len());
            for value in arriving {
                values.push(value.finish().await?);
            }
            let order: Vec<_> = self.backup(id)?.values.into_iter().map(|meta| meta.id).collect();
            values.sort_by_key(|value| order.iter().position(|id| *id == value.meta.id));
            self.with(|open| drop(open.bulk.unpacked.insert(*id, values)))?;
        }
        if self.backup(id)?.operation == Some(Operation::Drill) {
            let contents = self.with(|open| open.bulk.unpacked.get(id).cloned().unwrap_or_default())?;
            let contents = contents.into_iter().map(|value| value.content).collect();
            return self.handle(Event::Drilled(*id, contents)).await;
        }
        // They stay until all of it is committed: a disk that is full now may have room for the next try.
        let values = self.with(|open| open.bulk.unpacked.get(id).cloned().unwrap_or_default())?;
        for value in &values {
            self.store.put_blob_array(&value.content.blob, &value.sealed).await?;
        }
        let backup = self.backup(id)?;
        if let (Some(_), [value]) = (&backup.chapter, &values[..]) {
            let plain = self.reader(&value.content).await?.read_all().await.map_err(|_| VaultError::Damaged)?;
            let read = Event::ChapterRead(*id, value.content.clone(), Book::read_own(&plain).ok());
            self.handle(read).await?;
            values.into_iter().for_each(|value| bulk::free(&value.sealed));
            return Ok(());
        }
        let unused = self.with(|open| open.session.unused(&open.state, &backup))?;
        let recovered = values.iter().map(|value| (value.meta.clone(), value.content.clone())).collect();
        self.handle(Event::Recovered(*id, recovered, unused)).await?;
        for value in values {
            bulk::free(&value.sealed);
        }
        Ok(())
    }

    /// Makes the content of the chapter of the owner's book durable that is due.
    pub(crate) async fn write_chapter(self: &Rc<Self>) -> Result<(), EngineError> {
        let due = self.with(|open| {
            let due = book::due(&open.state, &open.session, now())?;
            let content = (!due.names.is_empty()).then(|| book::chapter_of(&open.state, &due));
            Some((due, content))
        })?;
        let Some((due, content)) = due else { return Ok(()) };
        let content = match content {
            Some(content) => {
                let content = self.keep(&Uint8Array::from(content.as_slice())).await?;
                Some((book::describe_chapter(content.length, now(), &mut fresh_rng()?), content))
            }
            None => None,
        };
        self.handle(Event::WriteChapter(Box::new(WriteChapter { due, content }))).await
    }

    // ---- content on this device ------------------------------------------------------------------------------

    async fn writer(&self, len: usize) -> Result<(String, Writer), EngineError> {
        let mut rng = fresh_rng()?;
        let mut name = [0; 16];
        rng.fill_bytes(&mut name);
        let blob = base16ct::lower::encode_string(&name);
        let sealer = self.with(|open| open.vault.blob_sealer(&blob, &mut rng))??;
        Ok((blob, Writer::new(sealer, len).await?))
    }

    /// Stores content durably, sealed. Until a record refers to it, it is swept at the next start.
    pub(crate) async fn keep(&self, content: &Uint8Array) -> Result<Content, EngineError> {
        let length = content.length();
        let (blob, mut writer) = self.writer(length as usize).await?;
        let mut hasher = Hasher::default();
        for start in (0..length).step_by(CHUNK) {
            let portion = Zeroizing::new(content.subarray(start, length.min(start + CHUNK as u32)).to_vec());
            hasher.update(&portion);
            writer.push(&portion).await?;
        }
        let sealed = writer.finish().await?;
        self.store.put_blob_array(&blob, &sealed).await?;
        bulk::free(&sealed);
        Ok(Content { blob, length: u64::from(length), root: Some(Root(hasher.finish())) })
    }

    /// The same of bytes at hand.
    async fn keep_bytes(&self, content: &[u8]) -> Result<Content, EngineError> {
        let (blob, mut writer) = self.writer(content.len()).await?;
        writer.push(content).await?;
        let sealed = writer.finish().await?;
        self.store.put_blob_array(&blob, &sealed).await?;
        bulk::free(&sealed);
        Ok(Content { blob, length: content.len() as u64, root: None })
    }

    /// The file of a backup that is being made, as its owner is to keep it.
    pub(crate) async fn piece_file(&self, id: &BackupId) -> Result<Zeroizing<Vec<u8>>, EngineError> {
        let backup = self.backup(id)?;
        let layout = backup.layout().map_err(WalletError::from)?;
        let mut made = backup.file;
        made.sort_unstable_by_key(|(segment, _)| *segment);
        let mut parts = Vec::with_capacity(made.len());
        for (_, content) in &made {
            parts.push(self.reader(content).await?.read_all().await.map_err(|_| VaultError::Damaged)?);
        }
        Ok(write_file(&layout, &parts)?)
    }

    /// Content on this device, for the page.
    pub(crate) async fn content(&self, content: &Content) -> Result<Uint8Array, EngineError> {
        Ok(self.reader(content).await?.into_array().await.map_err(|_| VaultError::Damaged)?)
    }
}
