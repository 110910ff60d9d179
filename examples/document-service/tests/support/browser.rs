//! A browser with the page.

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use windlass_test_servers::Chromium;

use super::{ADMIN, http, until};

pub struct Browser {
    pub page: Client,
    driver: String,
    // Ends the browser.
    _chromium: Chromium,
}

impl Browser {
    pub async fn open(url: &str) -> Self {
        let chromium = Chromium::start().await.unwrap();
        let options = json!({"args": Chromium::ARGUMENTS, "binary": chromium.browser()});
        let mut wanted = Map::new();
        wanted.insert("goog:chromeOptions".to_owned(), options);
        wanted.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let page = builder.capabilities(wanted).connect(&chromium.url()).await.unwrap();
        page.goto(url).await.unwrap();
        Self { page, driver: chromium.url(), _chromium: chromium }
    }

    /// Waits for an element that is shown.
    pub async fn find(&self, css: &str) -> Element {
        until(&format!("`{css}` is shown"), async || {
            let found = self.page.find(Locator::Css(css)).await.ok()?;
            found.is_displayed().await.ok()?.then_some(found)
        })
        .await
    }

    /// Waits for a text in an element.
    pub async fn until_text(&self, css: &str, part: &str) {
        until(&format!("`{css}` says `{part}`"), async || {
            let found = self.page.find(Locator::Css(css)).await.ok()?;
            found.text().await.ok()?.contains(part).then_some(())
        })
        .await;
    }

    pub async fn sign_in(&self, password: &str) {
        self.find("#sign-in [name=username]").await.send_keys(ADMIN.0).await.unwrap();
        let password = self.find("#sign-in [name=password]").await.send_keys(password).await;
        password.unwrap();
        self.find("#sign-in button").await.click().await.unwrap();
    }

    pub async fn run(&self, script: &str) -> Value {
        self.page.execute(script, Vec::new()).await.unwrap()
    }

    /// A command of the browser's own.
    pub async fn command(&self, name: &str, parameters: Value) {
        let body = json!({"cmd": name, "params": parameters});
        self.driver("goog/cdp/execute", body).await;
    }

    /// What the page has complained about.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver("se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    async fn driver(&self, path: &str, body: Value) -> Value {
        let session = self.page.session_id().await.unwrap().unwrap();
        let url = format!("{}/session/{session}/{path}", self.driver);
        let answer = http().post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json::<Value>().await.unwrap()["value"].take()
    }
}
