use std::io;

use super::*;

fn refused() -> RedisError {
    io::Error::from(io::ErrorKind::ConnectionRefused).into()
}

async fn after<T>(millis: u64, answer: Reply<T>) -> Reply<T> {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    answer
}

#[tokio::test(start_paused = true)]
async fn the_best_answer_wins_if_it_comes_in_time() {
    let second = Duration::from_secs(1);
    let ask = |answers: Vec<(u64, Reply<u64>)>, grace| {
        let asked = answers.into_iter().map(|(millis, answer)| after(millis, answer));
        best(asked, second, Duration::from_millis(grace), |n| *n)
    };
    assert_eq!(ask(vec![(1, Ok(1)), (50, Ok(2)), (5_000, Ok(3))], 100).await.unwrap(), 2);
    assert_eq!(ask(vec![(1, Err(refused())), (2, Ok(1)), (50, Ok(2))], 0).await.unwrap(), 1);
    assert!(ask(vec![(1, Err(refused()))], 0).await.unwrap_err().is_connection_refusal());
    assert!(ask(vec![(5_000, Ok(1))], 0).await.unwrap_err().is_timeout());
    let telling = || (ErrorKind::MasterNameNotFoundBySentinel, "unknown").into();
    let error = ask(vec![(1, Err(telling())), (2, Err(refused()))], 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MasterNameNotFoundBySentinel);
}

fn cluster() -> Route {
    let seed: ConnectionInfo = "redis://app:hunter2@seed:7000".parse().unwrap();
    Route::new(&RedisOptions::cluster(vec![seed]).unwrap(), "{jobs}".to_owned())
}

fn moved(to: &str) -> RedisError {
    let told = format!("-MOVED 866 {to}\r\n");
    let value = redis::parse_redis_value(told.as_bytes()).unwrap();
    value.extract_error().unwrap_err()
}

#[tokio::test]
async fn who_is_named_as_the_owner_is_followed_once() {
    let route = cluster();
    let from = ConnectionAddr::Tcp("seed".to_owned(), 7000);
    for (told, expected) in
        [("10.0.0.1:7001", "10.0.0.1:7001"), (":7002", "seed:7002"), ("::1:7003", "::1:7003")]
    {
        assert!(route.follow(&moved(told), &from), "{told}");
        let found = route.find(Duration::from_millis(1)).await.unwrap();
        let info = found.get_connection_info();
        assert_eq!(info.addr().to_string(), expected);
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
    }
    assert!(!route.follow(&moved("nowhere"), &from));
    assert!(!route.follow(&refused(), &from));
    assert!(route.find(Duration::from_millis(1)).await.is_err(), "the seed is asked");
}
