use serde::Serialize;
use windlass::Job;

#[derive(Job, Serialize)]
struct Borrowed<'a> {
    text: &'a str,
}

#[derive(Job, serde::Serialize, serde::Deserialize)]
struct Many<T>(Vec<T>);

#[derive(Job)]
union Both {
    a: u32,
    b: f32,
}

#[derive(Job, serde::Serialize, serde::Deserialize)]
struct Größe;

fn main() {}
