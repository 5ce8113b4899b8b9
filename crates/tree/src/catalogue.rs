//! What the transfers in an inbox brought: a file for each, in `.held` there.
//!
//! They are a cache. One that is damaged, gone or not written because the disk
//! was full only means that something is sent again, so nothing syncs them.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use pilot_files::{Catalogue, CatalogueFile, FileHash, MAX_CATALOGUE, MIN_HELD};
use pilot_proto::Component;
use pilot_proto::manifest::EntryKind;

use crate::folder::Folder;
use crate::{DiskError, Incoming};

/// Their folder in the inbox.
const HELD: &[u8] = b".held";

/// Pieces of a transfer that is entered, and of a file that is held: 256 GiB.
/// The hashes of all of them are in memory for a moment, which is 8 MiB.
pub(crate) const MAX_HELD_PIECES: u64 = 1 << 18;

/// Forgets what the transfer of this name brought to `inbox`; it is no error
/// if nothing is known of it. What it brought stays.
///
/// # Errors
///
/// [`DiskError`].
pub fn forget_held(inbox: &Path, name: &str) -> Result<(), DiskError> {
    let removed = folder(inbox).and_then(|catalogues| match Component::new(name.as_bytes()) {
        Ok(name) => catalogues.remove(name.as_bytes()),
        Err(_) => Ok(()),
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| DiskError::at(inbox.join(".held").join(name), error)),
    }
}

/// The folder of the catalogues of an inbox.
pub(crate) fn folder(inbox: &Path) -> io::Result<Folder> {
    Folder::at(inbox)?.open(HELD)
}

/// The catalogue of a transfer, whatever is in it.
pub(crate) fn read(catalogues: &Folder, name: &Component) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = catalogues.read(name.as_bytes())?;
    file.take(MAX_CATALOGUE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the catalogue of a transfer that is whole.
pub(crate) fn write(incoming: &Incoming, inbox: &Folder, name: &str) -> io::Result<()> {
    let Some(bytes) = of(incoming)? else { return Ok(()) };
    match inbox.make(HELD) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let catalogues = inbox.open(HELD)?;
    let name = name.as_bytes();
    catalogues.remove(name)?;
    let written = catalogues.create(name)?.write_all(&bytes);
    // Part of one is of no use, and takes room.
    written.or_else(|error| catalogues.unlink(name).and(Err(error)))
}

/// None if it is too large, or has nothing that is worth it.
pub(crate) fn of(incoming: &Incoming) -> io::Result<Option<Vec<u8>>> {
    let (layout, manifest) = (incoming.layout(), incoming.manifest());
    let pieces = match usize::try_from(layout.pieces()) {
        Ok(pieces) if layout.pieces() <= MAX_HELD_PIECES => pieces,
        Ok(_) | Err(_) => return Ok(None),
    };
    // Of several records of a piece, the last is of what is there: it was
    // written again because what the first said was not.
    let mut hashes = vec![None; pieces];
    for record in incoming.journal.records()? {
        let (number, hash) = record?;
        let known = usize::try_from(number).ok().and_then(|number| hashes.get_mut(number));
        if let Some(known) = known {
            *known = Some(hash);
        }
    }
    let mut hashes = hashes.into_iter();
    let mut catalogue = Catalogue::new();
    for (entry, number) in manifest.entries().iter().zip(0..) {
        let EntryKind::File { size } = entry.kind else { continue };
        let range = layout.of_entry(number);
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let of_file: Option<Vec<_>> = hashes.by_ref().take(count).collect();
        if let (Some(of_file), MIN_HELD..) = (of_file, size) {
            let (hash, path) = (FileHash::of(&of_file), manifest.path(number as usize));
            catalogue.add(&CatalogueFile { size, hash, path: &path.unwrap_or_default() });
        }
    }
    Ok(catalogue.into_bytes())
}
