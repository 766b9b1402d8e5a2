//! Servers that have all files of another, in case that one does not give them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use wireboot_proto::text::url::{Url, UrlError};

/// Folders on other servers, in which each file is by the path that it has on its own.
#[derive(Debug, Clone, Default)]
pub struct Mirrors {
    folders: Vec<Url>,
    /// Which server is asked first: 0 is the file's own. Who has waited for a dead one once does not
    /// wait for it again.
    first: Arc<AtomicUsize>,
}

impl Mirrors {
    /// Begins with the own server of each file, and these folders behind it.
    ///
    /// # Errors
    /// [`Error::Usage`] when one is no URL.
    pub fn of(folders: &[String]) -> Result<Self, Error> {
        let folders = folders.iter().map(|folder| folder.parse());
        let folders: Result<_, UrlError> = folders.collect();
        Ok(Self {
            folders: folders
                .map_err(|error| Error::Usage(format!("the mirror is none: {error}")))?,
            first: Arc::default(),
        })
    }

    /// Returns all addresses of a file in the order in which they are to be tried.
    pub(super) fn addresses(&self, url: &Url) -> Vec<Url> {
        let mut all = vec![url.clone()];
        for folder in &self.folders {
            match url.below(folder) {
                Ok(mirrored) => all.push(mirrored),
                Err(error) => log::warn!("{url} cannot be on the mirror {folder}: {error}"),
            }
        }
        let first = self.first.load(Ordering::Relaxed);
        let len = all.len();
        all.rotate_left(first % len);
        all
    }

    /// Has the server that was tried `after` so many others be the first from now on.
    pub(super) fn prefer(&self, after: usize) {
        if after > 0 && !self.folders.is_empty() {
            let first = self.first.load(Ordering::Relaxed) + after;
            let first = first % (self.folders.len() + 1);
            self.first.store(first, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_gave_a_file_is_asked_first_from_then_on() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let mirrors = ["http://b/x/", "http://c/"].map(str::to_owned);
        let mirrors = Mirrors::of(&mirrors).unwrap();
        let order = |path: &str| {
            let addresses = mirrors.addresses(&url(path));
            addresses.iter().map(Url::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            order("http://a/d/f?q"),
            ["http://a/d/f?q", "http://b/x/d/f?q", "http://c/d/f?q"]
        );
        mirrors.prefer(0);
        mirrors.prefer(1);
        mirrors.clone().prefer(1);
        assert_eq!(
            order("tftp://a/f"),
            ["http://c/f", "tftp://a/f", "http://b/x/f"]
        );
        mirrors.prefer(1);
        assert_eq!(
            order("tftp://a/f"),
            ["tftp://a/f", "http://b/x/f", "http://c/f"]
        );
        assert_eq!(Mirrors::default().addresses(&url("http://a/")).len(), 1);
    }
}
