//! Passwords: made, hashed and checked.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::error::Failed;

/// Hashing takes 19 MiB and a core: more at once would let strangers use up the machine.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// A secret of 244 random bits, from the random numbers of the operating system.
pub fn generate() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

pub async fn hash(password: String) -> Result<String, Failed> {
    hashing(move || {
        Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
    })
    .await?
    .map_err(|_| Failed::internal("a password can't be hashed"))
}

/// Whether it is the password of a user. An unknown user takes as long as a wrong password.
pub async fn verify(password: String, hashed: Option<String>) -> Result<bool, Failed> {
    let Some(hashed) = hashed else {
        hash(password).await?;
        return Ok(false);
    };
    hashing(move || {
        PasswordHash::new(&hashed)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    })
    .await
}

async fn hashing<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failed> {
    let turn = AT_ONCE.acquire().await;
    // A client that hangs up ends this future, not the work: the turn goes with the work.
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Failed::internal("a hash was not made"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_hangs_up_gives_no_turn_back_while_the_work_goes_on() {
        let (started, starts) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let request = tokio::spawn(hashing(move || {
            let _ = started.send(());
            let _ = ends.recv();
        }));
        tokio::task::spawn_blocking(move || starts.recv()).await.unwrap().unwrap();
        let free = AT_ONCE.available_permits();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(AT_ONCE.available_permits(), free, "somebody else could begin meanwhile");
        drop(end);
        while AT_ONCE.available_permits() == free {
            tokio::task::yield_now().await;
        }
    }
}
