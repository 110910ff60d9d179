//! Figures of the pool, for metrics.

use crate::PostgresBackend;

/// Connections of one moment; those of heartbeats and of `LISTEN` are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolFigures {
    /// Connections that are open.
    pub size: u32,
    /// Of these: nobody uses them.
    pub idle: u32,
    /// Of these: a call uses them.
    pub in_use: u32,
    /// Calls of this backend that wait for one.
    pub waiting: u32,
    /// The most that may be open.
    pub maximum: u32,
}

impl PostgresBackend {
    /// Figures of the pool.
    #[must_use]
    pub fn pool_figures(&self) -> PoolFigures {
        let pool = &self.session.pool;
        let size = pool.size();
        // They are read one after the other.
        let idle = pool.num_idle() + self.session.spares.idle();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
        PoolFigures {
            size,
            idle,
            in_use: size - idle,
            waiting: self.session.waiting(),
            maximum: pool.options().get_max_connections(),
        }
    }
}
