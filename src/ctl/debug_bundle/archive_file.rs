//! Writes the parts as a tar.gz.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Mode of the files inside: read and written by their owner.
const MODE: u32 = 0o600;

/// A tar.gz with these parts in a folder of this name.
pub(super) fn tar_gz(folder: &str, parts: &[(String, String)]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    for (name, text) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(now);
        header.set_cksum();
        tar.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}
