//! A new file that no other user can read or replace.
//!
//! | what may happen | consequence |
//! |---|---|
//! | a user with write access to the folder plants a link or a file under the temporary name | the name is random, and `create_new` follows no link and opens no existing file |
//! | other users read what is written | the mode is 0600 from the beginning, whatever the umask |
//! | the program ends half-way | the final name keeps its content; a file `.NAME.….part` may remain |
//! | the machine crashes after the rename | the data were synced before it |

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Mode of a new file: read and written by its owner only.
const OWNER_ONLY: u32 = 0o600;

/// A new file under a temporary name. Removed unless renamed.
pub(super) struct FreshFile {
    file: File,
    path: PathBuf,
    is_kept: bool,
}

impl FreshFile {
    /// Creates a file in the folder of `target`, under a random name.
    ///
    /// # Errors
    /// If the folder does not exist, or is not writable.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("this is no file's name"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:032x}.part", rand::random::<u128>()));
        let path = target.with_file_name(hidden);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
        let file = options.open(&path)?;
        Ok(FreshFile { file, path, is_kept: false })
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file and gives it its final name. A file or link of that name is replaced.
    ///
    /// # Errors
    /// If the disk is full, or a folder has that name.
    pub fn rename_to(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for FreshFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // If it remains, its name shows what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}
