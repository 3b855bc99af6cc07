//! The jobs of the driver: making bodies, opening them, rebuilding values. Each is a function of committed state and stored bytes, so that it
//! can be done again after anything; none keeps more of a value in memory than it needs at a time.

use std::rc::Rc;

use js_sys::Uint8Array;
use protocol::{
    bundle::{self, ValueMeta},
    crypto::CryptoError,
    envelope::Envelope,
    ids::{BackupId, DepositId, Root, SafeId},
    layout::{Draft, WRAP_LEN},
    seal::{self, CHUNK, HEADER, SEALED_CHUNK},
};
use rand_core::Rng;
use web_sys::Blob;
use zeroize::Zeroizing;

use crate::{
    exchange::{self, Meaning},
    machine::{Event, WalletError},
    state::{Backup, Content},
    vault::VaultError,
    web::{
        bulk::{self, ChunkSealer, Reader, Writer},
        driver::{Driver, fresh_rng},
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

/// A body that was made.
pub(crate) struct Made {
    pub(crate) deposit: DepositId,
    pub(crate) root: Root,
    pub(crate) length: u64,
}

/// A value that is being put back.
struct Arriving {
    meta: ValueMeta,
    blob: String,
    writer: Writer,
}

impl Arriving {
    async fn finish(self) -> Result<Unpacked, EngineError> {
        let Self { meta, blob, writer } = self;
        let sealed = writer.finish().await?;
        let length = meta.length;
        Ok(Unpacked { meta, content: Content { blob, length }, sealed })
    }
}

/// A value that is back, sealed for this device.
#[derive(Clone)]
pub(crate) struct Unpacked {
    meta: ValueMeta,
    content: Content,
    sealed: Uint8Array,
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

    /// The bodies of one segment: sealed, dispersed and sealed again chunk by chunk.
    pub(crate) async fn make_bodies(&self, id: &BackupId, segment: u32) -> Result<Vec<Made>, EngineError> {
        let backup = self.backup(id)?;
        let seed = backup.op_seed.as_ref().ok_or_else(|| EngineError::new((UNKNOWN, "Nothing to make.", None)))?;
        let layout = backup.layout().map_err(WalletError::from)?;
        let deposits: Vec<_> = backup.deposits.iter().filter(|d| d.segment == segment).collect();
        let drafts: Vec<Draft<'_>> =
            deposits.iter().map(|d| Draft { slot: d.slot(), deposit: d.id, d: &d.d }).collect();
        let refused = |_| EngineError::new(("internal", "The pieces could not be made.", None));
        let stream = layout.stream(seed)?;
        let mut packer = layout.packer(seed, segment, &drafts).map_err(refused)?;
        packer.push(0, stream.head())?;
        let mut bundle = self.bundle(&backup).await?;
        let sealer = ChunkSealer::new(stream.sealer()).await?;
        let mut content = Zeroizing::new(Vec::with_capacity(CHUNK));
        let mut sealed = Vec::with_capacity(SEALED_CHUNK);
        for chunk in seal::chunks(backup.bundle as usize)? {
            let at = WRAP_LEN + chunk.sealed.start as u64;
            if packer.wants(at, chunk.sealed.len() as u64) {
                content.clear();
                bundle.read(chunk.content.start, chunk.content.end, &mut content).await?;
                sealer.seal(&chunk, &content, &mut sealed).await?;
                packer.push(at, &sealed)?;
            }
        }
        drop(bundle);
        let mut made = Vec::with_capacity(deposits.len());
        for (deposit, envelope) in deposits.iter().zip(packer.finish().map_err(refused)?) {
            let body = bulk::seal(envelope.sealer(), envelope.plain()).await?;
            let (root, length) = (Root(bulk::root_of(&body)), u64::from(body.length()));
            let blob = net::body_of(&body).ok_or(CryptoError)?;
            bulk::free(&body);
            self.with(|open| open.bulk.bodies.insert(deposit.id, blob))?;
            made.push(Made { deposit: deposit.id, root, length });
        }
        Ok(made)
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
            self.make_bodies(backup, segment).await?;
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

    pub(crate) async fn gather(self: &Rc<Self>, id: &BackupId, segment: u32) -> Result<(), EngineError> {
        let backup = self.backup(id)?;
        let result = self.with(|open| {
            let layout = backup.layout().map_err(|e| e.to_string())?;
            let mine: Vec<_> = backup.deposits.iter().filter(|d| d.segment == segment).collect();
            let envelopes: Vec<(SafeId, &Envelope)> =
                mine.iter().filter_map(|d| Some((d.safe, open.bulk.envelopes.get(&d.id)?))).collect();
            let bytes = layout.gather_segment(segment, &envelopes).map_err(|e| e.to_string())?;
            if segment == 0 {
                let kek = layout.gather_key(&envelopes).map_err(|e| e.to_string())?;
                open.bulk.keks.insert(*id, kek);
            }
            let length = u32::try_from(layout.stream_len()).map_err(|e| e.to_string())?;
            let stream = open.bulk.streams.entry(*id).or_insert_with(|| Uint8Array::new_with_length(length));
            // Below the stream's length, which was just seen to fit.
            let start = (u64::from(segment) * layout.segment_len()) as u32;
            stream.subarray(start, start + bytes.len() as u32).copy_from(&bytes);
            for deposit in mine {
                open.bulk.envelopes.remove(&deposit.id);
            }
            open.session.recoveries.entry(*id).or_default().gathered.push(segment);
            Ok::<_, String>(())
        })?;
        match result {
            Ok(()) => Ok(()),
            Err(why) => self.handle(Event::RecoveryFailed(*id, why)).await,
        }
    }

    pub(crate) async fn finish(self: &Rc<Self>, id: &BackupId) -> Result<(), EngineError> {
        if !self.with(|open| open.bulk.unpacked.contains_key(id))? {
            match self.open_stream(id).await {
                Ok(values) => self.with(|open| drop(open.bulk.unpacked.insert(*id, values)))?,
                Err(why) => return self.handle(Event::RecoveryFailed(*id, why)).await,
            }
        }
        // They stay until all of it is committed: a disk that is full now may have room for the next try.
        let values = self.with(|open| open.bulk.unpacked.get(id).cloned().unwrap_or_default())?;
        for value in &values {
            self.store.put_blob_array(&value.content.blob, &value.sealed).await?;
        }
        let recovered = values.iter().map(|value| (value.meta.clone(), value.content.clone())).collect();
        self.handle(Event::Recovered(*id, recovered)).await?;
        for value in values {
            bulk::free(&value.sealed);
        }
        Ok(())
    }

    /// Opens what was gathered; an error is a reason for a person.
    async fn open_stream(&self, id: &BackupId) -> Result<Vec<Unpacked>, String> {
        let words = |error: EngineError| error.message().to_owned();
        let backup = self.backup(id).map_err(words)?;
        let (stream, opener) = self
            .with(|open| {
                let layout = backup.layout().map_err(|e| e.to_string())?;
                let kek = open.bulk.keks.get(id).ok_or("the key is missing")?;
                let stream = open.bulk.streams.remove(id).ok_or("the content is missing")?;
                let beginning = stream.subarray(0, WRAP_LEN as u32 + HEADER as u32).to_vec();
                let opener = layout.opener(kek, &beginning).map_err(|e| e.to_string())?;
                Ok::<_, String>((stream, opener))
            })
            .map_err(words)??;
        let sealed = stream.subarray(WRAP_LEN as u32, stream.length());
        let unpacked = match Reader::new(opener, sealed).await {
            Ok(reader) => self.unpack(&backup, reader).await.map_err(words)?,
            Err(_) => None,
        };
        unpacked.ok_or_else(|| "the content is not what was backed up".to_owned())
    }

    /// Opens a sealed bundle and seals its values for this device; `None`: it does not open, or is no bundle.
    async fn unpack(&self, backup: &Backup, mut sealed: Reader) -> Result<Option<Vec<Unpacked>>, EngineError> {
        let mut beginning = Zeroizing::new(Vec::new());
        let mut metas = None;
        let mut arriving: Option<Arriving> = None;
        let mut values = Vec::new();
        let mut plain = Zeroizing::new(Vec::with_capacity(CHUNK));
        for chunk in seal::chunks(backup.bundle as usize)? {
            plain.clear();
            if sealed.read(chunk.content.clone(), &mut plain).await.is_err() {
                return Ok(None);
            }
            // The last of it is read: what is to be stored takes its place in memory.
            if chunk.last {
                sealed.free();
            }
            if metas.is_none() {
                beginning.extend_from_slice(&plain);
                let Ok(head) = bundle::parse_head(&beginning) else { return Ok(None) };
                let Some((found, start)) = head else { continue };
                if bundle::length(&found) != backup.bundle {
                    return Ok(None);
                }
                metas = Some(found.into_iter());
                plain = Zeroizing::new(beginning.split_off(start));
                beginning.clear();
            }
            let mut rest = plain.as_slice();
            loop {
                if arriving.is_none() {
                    let Some(meta) = metas.as_mut().and_then(Iterator::next) else { break };
                    arriving = Some(self.arriving(meta).await?);
                }
                let Some(value) = &mut arriving else { break };
                let (now, later) = rest.split_at(rest.len().min(value.writer.missing()));
                value.writer.push(now).await?;
                rest = later;
                if value.writer.missing() > 0 {
                    break;
                }
                if let Some(value) = arriving.take() {
                    values.push(value.finish().await?);
                }
            }
        }
        Ok((arriving.is_none() && values.len() == backup.values.len()).then_some(values))
    }

    async fn arriving(&self, meta: ValueMeta) -> Result<Arriving, EngineError> {
        let (blob, writer) = self.writer(meta.length as usize).await?;
        Ok(Arriving { meta, blob, writer })
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
        for start in (0..length).step_by(CHUNK) {
            let portion = Zeroizing::new(content.subarray(start, length.min(start + CHUNK as u32)).to_vec());
            writer.push(&portion).await?;
        }
        let sealed = writer.finish().await?;
        self.store.put_blob_array(&blob, &sealed).await?;
        bulk::free(&sealed);
        Ok(Content { blob, length: u64::from(length) })
    }

    /// Content on this device, for the page.
    pub(crate) async fn content(&self, content: &Content) -> Result<Uint8Array, EngineError> {
        Ok(self.reader(content).await?.into_array().await.map_err(|_| VaultError::Damaged)?)
    }
}
