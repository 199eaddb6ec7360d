//! Prints the description of the API; `make openapi` puts it into `docs/openapi.json`.

use quiz_web::api::openapi;

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(openapi::document())?);
    Ok(())
}
