//! From files to jobs: which file is which job, so that a second start finds the job instead of adding another.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use windlass::{Client, Draft, JobId, JobRecord, State};

use crate::folder::AtPath;
use crate::process::{MAX_NAME, ProcessFile, hex, jobs};
use crate::{Files, Result};

/// Adds a job for each file that has none, and tries again those that were given up before.
pub async fn enqueue(client: &Client, files: Files) -> Result<()> {
    let mut folders = HashSet::new();
    let mut known = pin!(client.list_all(jobs()?));
    while let Some(job) = known.next().await {
        folders.insert(client.args::<ProcessFile>(&job?).await?.folder);
    }
    let (files, together) = match files {
        Files::Named(files) => (files, false),
        // All in one step: a run that is killed before it leaves a store without jobs, and the next begins anew.
        Files::Own if folders.is_empty() => (own_documents()?, true),
        Files::Own => (Vec::new(), true),
    };
    let mut drafts = Vec::new();
    for path in files {
        drafts.extend(draft(client, &path, &mut folders).await?);
        if !together {
            client.enqueue_many(drafts.drain(..)).await?;
        }
    }
    client.enqueue_many(drafts).await?;
    Ok(())
}

/// The job of a file, unless there is one. Its id follows from path and content, or from the path alone while the file
/// can't be read: its handler then tries, and says why not.
async fn draft(
    client: &Client,
    path: &Path,
    folders: &mut HashSet<String>,
) -> Result<Option<Draft<ProcessFile>>> {
    let path = canonical(path)?;
    let by_path = JobId::derived(&format!("{path:?}"));
    let unread = client.get(by_path).await?;
    let digest = digest(&path).await.ok();
    let id = match &digest {
        None => by_path,
        Some(digest) => {
            let id = JobId::derived(&format!("{path:?}\n{digest}"));
            match unread {
                Some(unread) if client.get(id).await?.is_some() || path.to_str().is_none() => {
                    // Another job does its work, or it can't: its args hold no exact path.
                    if given_up(&unread) {
                        client.delete(by_path).await?;
                    }
                    id
                }
                Some(unread) if is_other_content(client, &unread, digest).await? => id,
                Some(_) => by_path,
                None => id,
            }
        }
    };
    if let Some(job) = client.get(id).await? {
        if given_up(&job) {
            client.retry(id).await?;
        }
        return Ok(None);
    }
    let name = file_name(&path);
    let folder = free(&name, folders);
    // Opening a pipe would wait for its writer, so only what could be read is stored.
    let blob = match digest {
        Some(_) => client.put_blob(path.as_path()).await.ok(),
        None => None,
    };
    let path = path.to_string_lossy().into_owned();
    Ok(Some(Draft::new(ProcessFile { path, name, folder, blob }).id(id)))
}

fn given_up(job: &JobRecord) -> bool {
    job.state.is_final() && job.state != State::Completed
}

/// Whether a job completed with other content than the file has now.
async fn is_other_content(client: &Client, job: &JobRecord, digest: &str) -> Result<bool> {
    let result = client.output::<ProcessFile>(job).await?;
    Ok(result.is_some_and(|result| result.sha256 != digest))
}

/// One path for one file, also for one that is not there (yet).
fn canonical(path: &Path) -> Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let path = std::path::absolute(path).at(path)?;
    Ok(match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    })
}

/// The file's own name, cut to what a file system takes with an ending added.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}

/// A name for a file's artifact folder: the file's own, numbered where another file has it already.
fn free(name: &str, taken: &mut HashSet<String>) -> String {
    let mut folder = name.to_owned();
    for n in 2.. {
        if taken.insert(folder.clone()) {
            break;
        }
        folder = format!("{name}~{n}");
    }
    folder
}

/// The SHA-256 of a regular file's content. Read in small steps, so that a program asked to stop need not wait for it.
async fn digest(path: &Path) -> io::Result<String> {
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The Markdown files of this repository.
fn own_documents() -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder).at(folder)? {
            let path = entry.at(folder)?.path();
            let name = path.file_name().unwrap_or_default();
            if path.symlink_metadata().at(&path)?.is_dir() {
                if !name.to_string_lossy().starts_with('.') && name != "target" {
                    walk(&path, found)?;
                }
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found)?;
    found.sort();
    Ok(found)
}
