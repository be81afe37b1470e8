//! A file for each key.

use std::path::Path;

use loadgen::ObjectSource;

use crate::Failure;
use crate::progress::Progress;
use crate::stop::Stop;

/// Each file appears whole: it is written beside its place and then renamed.
pub(super) fn run(source: &ObjectSource, folder: &Path, progress: &Progress, stop: &Stop) -> Result<(), Failure> {
    for object in source.objects(0..source.count()) {
        if stop.requested() {
            break;
        }
        let file = folder.join(&object.key);
        let part = file.with_extension("part");
        let write = || {
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&part, &object.body)?;
            std::fs::rename(&part, &file)
        };
        write().map_err(|cause| Failure::Folder { file: file.display().to_string(), cause })?;
        let stored = u64::try_from(object.body.len()).unwrap_or(u64::MAX);
        progress.object(object.recipe.records, object.decompressed_bytes, stored);
    }
    Ok(())
}
