//! A file of this program's that nobody else has touched or can read.
//!
//! | what may happen | what comes of it |
//! |---|---|
//! | somebody who may write in the folder plants a link or a file of the name that is written to | the name is random, and `create_new` follows no link and takes no file that is there |
//! | others on the machine read what is written | the mode is 0600 from the beginning, whatever the umask |
//! | the program ends half-way | the final name has what it had; a file `.NAME.….part` may stay |
//! | the machine ends after the rename | the data were synced before it |

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Mode of a new file: its owner reads and writes it.
const OWNER_ONLY: u32 = 0o600;

/// A new file without its final name. Removed if it does not get it.
pub(super) struct FreshFile {
    file: File,
    path: PathBuf,
    is_kept: bool,
}

impl FreshFile {
    /// Creates one in the folder of `target`, under a random name.
    ///
    /// # Errors
    /// If the folder is not there, or not ours to write in.
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

    /// To write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its final name, once it is on disk. A file or link of that name is replaced.
    ///
    /// # Errors
    /// If the disk is full, or a folder has the name.
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
            // Should it stay, its name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}
