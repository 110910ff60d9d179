//! By scripts on Redis.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup};

use crate::table::{Batch, Claimed, LOOK, Table};

/// KEYS: the queue. ARGV: for each job its id and its args.
const INSERT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ids = {}
for n = 1, #ARGV, 2 do
  redis.call('HSET', 'raw:job:' .. ARGV[n], 'state', 2, 'epoch', 0, 'created', now, 'args', ARGV[n + 1])
  ids[#ids + 1] = ARGV[n]
end
redis.call('RPUSH', KEYS[1], unpack(ids))
redis.call('INCRBY', 'raw:left', #ids)";
/// KEYS: the queue. ARGV: most jobs, their claim id, the claim id of those to finish; for each of these its id and its epoch. Returns id, epoch and
/// args of each that was claimed.
const TURN: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local done, scores = {}, {}
for n = 4, #ARGV, 2 do
  local id = ARGV[n]
  local key = 'raw:job:' .. id
  local job = redis.call('HMGET', key, 'epoch', 'claim')
  if job[1] == ARGV[n + 1] and job[2] == ARGV[3] then
    redis.call('HSET', key, 'state', 5, 'finished', now)
    done[#done + 1] = id
    scores[#scores + 1] = now
    scores[#scores + 1] = id
  end
end
if #done > 0 then
  redis.call('ZADD', 'raw:finished', unpack(scores))
  redis.call('SREM', 'raw:running', unpack(done))
  redis.call('DECRBY', 'raw:left', #done)
end
local found = {}
local ids = ARGV[1] ~= '0' and redis.call('LPOP', KEYS[1], ARGV[1])
if not ids then return found end
redis.call('SADD', 'raw:running', unpack(ids))
for n, id in ipairs(ids) do
  local key = 'raw:job:' .. id
  local job = redis.call('HMGET', key, 'epoch', 'args')
  redis.call('HSET', key, 'state', 3, 'epoch', job[1] + 1, 'claim', ARGV[2], 'started', now)
  found[n] = { id, job[1] + 1, job[2] }
end
return found";

/// A loop on Redis.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    conn: MultiplexedConnection,
    queues: u64,
}

/// Connections of one loop: the second waits.
pub(crate) struct Seat {
    conn: MultiplexedConnection,
    waits: MultiplexedConnection,
}

fn queue_key(queue: i64) -> String {
    format!("raw:queue:{queue}")
}

async fn connect(client: &Client) -> Result<MultiplexedConnection> {
    // Waiting and long scripts take longer than the driver expects.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

impl Table for Redis {
    type Seat = Seat;
    const NAME: &'static str = "raw";
    const LOOPS: usize = 2;
    const BATCH: usize = 500;

    async fn open(setup: &Setup) -> Result<Self> {
        let client = Client::open(setup.url.as_str())?;
        Ok(Self { conn: connect(&client).await?, client, queues: setup.queues })
    }

    async fn seat(&self) -> Result<Seat> {
        Ok(Seat { conn: connect(&self.client).await?, waits: connect(&self.client).await? })
    }

    async fn insert(&self, jobs: Vec<(i64, Payload)>, _wake: bool) -> Result<()> {
        let script = Script::new(INSERT);
        let mut calls: Vec<_> = (0..self.queues)
            .map(|queue| script.key(queue_key(i64::try_from(queue).unwrap_or_default())))
            .collect();
        let mut used = vec![false; calls.len()];
        for (queue, payload) in jobs {
            let queue = usize::try_from(queue)?;
            calls[queue].arg(Uuid::now_v7().simple().to_string());
            calls[queue].arg(serde_json::to_vec(&payload)?);
            used[queue] = true;
        }
        let mut conn = self.conn.clone();
        for (call, _) in calls.iter().zip(used).filter(|(_, used)| *used) {
            call.invoke_async::<()>(&mut conn).await?;
        }
        Ok(())
    }

    async fn turn(&self, seat: &mut Seat, done: &Batch, queue: i64, most: usize) -> Result<Batch> {
        let (script, claim) = (Script::new(TURN), Uuid::new_v4());
        let mut call = script.key(queue_key(queue));
        call.arg(most).arg(claim.simple().to_string()).arg(done.claim.simple().to_string());
        for job in &done.jobs {
            call.arg(job.id.simple().to_string()).arg(job.epoch);
        }
        let rows: Vec<(String, i64, Vec<u8>)> = call.invoke_async(&mut seat.conn).await?;
        let claimed = |(id, epoch, args): (String, i64, Vec<u8>)| {
            Ok(Claimed { id: Uuid::try_parse(&id)?, epoch, args })
        };
        Ok(Batch { claim, jobs: rows.into_iter().map(claimed).collect::<Result<_>>()? })
    }

    async fn wait(&self, seat: &mut Seat) -> Result<()> {
        // To its own place: it waits for a job and doesn't take it.
        let queue = queue_key(0);
        let mut wait = redis::cmd("BLMOVE");
        wait.arg(&queue).arg(&queue).arg("LEFT").arg("LEFT").arg(LOOK.as_secs_f64());
        let _: Option<String> = wait.query_async(&mut seat.waits).await?;
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let left: Option<u64> =
            redis::cmd("GET").arg("raw:left").query_async(&mut self.conn.clone()).await?;
        Ok(left.unwrap_or_default())
    }
}
