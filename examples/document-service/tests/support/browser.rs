//! A browser with the page, driven over WebDriver.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use windlass_test_servers::Chromium;

use super::{ADMIN, http, until};

/// Under this name the protocol hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
const TAB: &str = "\u{e004}";

pub struct Browser {
    http: Client,
    session: String,
    // Ends the browser.
    _chromium: Chromium,
}

impl Browser {
    pub async fn open(url: &str) -> Self {
        let chromium = Chromium::start().await.unwrap();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": Chromium::ARGUMENTS, "binary": chromium.browser()},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let sessions = format!("{}/session", chromium.url());
        let mut browser = Self { http: http(), session: sessions, _chromium: chromium };
        let made = browser.command(Method::POST, "", wanted).await.unwrap();
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        browser.post("/url", json!({"url": url})).await;
        browser
    }

    /// Waits for an element that is shown.
    async fn find(&self, css: &str) -> String {
        until(&format!("`{css}` is shown"), async || {
            let path = self.element(css).await?;
            let shown = self.get(&format!("{path}/displayed")).await.ok()?;
            (shown == true).then_some(path)
        })
        .await
    }

    async fn element(&self, css: &str) -> Option<String> {
        let search = json!({"using": "css selector", "value": css});
        let found = self.command(Method::POST, "/element", search).await.ok()?;
        Some(format!("/element/{}", found[ELEMENT].as_str()?))
    }

    pub async fn click(&self, css: &str) {
        self.act(css, "click", json!({})).await;
    }

    /// Does something to an element that is shown; again if the page has drawn another in its place meanwhile.
    async fn act(&self, css: &str, what: &str, body: Value) {
        until(&format!("{what} on `{css}`"), async || {
            let path = format!("{}/{what}", self.find(css).await);
            match self.command(Method::POST, &path, body.clone()).await {
                Ok(_) => Some(()),
                Err(error) if error["error"] == "stale element reference" => None,
                Err(error) => panic!("{what} on `{css}`: {error}"),
            }
        })
        .await;
    }

    /// Types into an element; into a field for files, their paths.
    pub async fn keys(&self, css: &str, text: &str) {
        self.act(css, "value", json!({"text": text})).await;
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}))
        });
        let strokes: Vec<_> = strokes.collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.post("/actions", json!({"actions": [keyboard]})).await;
    }

    /// Goes from control to control until the focus is on one.
    pub async fn tab_to(&self, css: &str) {
        let there = "return document.activeElement.matches(arguments[0])";
        for _ in 0..30 {
            if self.run(there, &[css]).await == true {
                return;
            }
            self.press(TAB).await;
        }
        panic!("the keyboard does not reach `{css}`");
    }

    /// Opens the page and signs in.
    pub async fn signed_in(url: &str) -> Self {
        let browser = Self::open(url).await;
        browser.sign_in(ADMIN.1).await;
        browser.until_text("#live", "Live").await;
        browser
    }

    pub async fn is_enabled(&self, css: &str) -> bool {
        until(&format!("`{css}` tells whether it is enabled"), async || {
            self.get(&format!("{}/enabled", self.find(css).await)).await.ok()
        })
        .await
            == true
    }

    /// Waits until a script returns true.
    pub async fn until_true(&self, script: &str) {
        until(script, async || (self.run(script, &[]).await == true).then_some(())).await;
    }

    /// Waits for a text in an element.
    pub async fn until_text(&self, css: &str, part: &str) {
        until(&format!("`{css}` says `{part}`"), async || {
            let text = self.get(&format!("{}/text", self.element(css).await?)).await.ok()?;
            text.as_str()?.contains(part).then_some(())
        })
        .await;
    }

    pub async fn sign_in(&self, password: &str) {
        self.keys("#sign-in [name=username]", ADMIN.0).await;
        self.keys("#sign-in [name=password]", password).await;
        self.click("#sign-in button").await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// What a script returns.
    pub async fn run(&self, script: &str, args: &[&str]) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": args})).await
    }

    /// A command of the browser's own.
    pub async fn set(&self, name: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": name, "params": parameters})).await;
    }

    /// What the page has complained about since the last time.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    async fn get(&self, path: &str) -> Result<Value, Value> {
        self.command(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.command(Method::POST, path, body).await.unwrap()
    }

    async fn command(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let good = answer.status().is_success();
        let value = answer.json::<Value>().await.unwrap()["value"].take();
        if good { Ok(value) } else { Err(value) }
    }
}
