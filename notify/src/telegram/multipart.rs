//! A form with a file, as the Bot API takes uploads (RFC 7578).

use serde::Serialize;
use serde_json::Value;

/// What stands between the parts. A PNG holds it by an accident of 2^-200.
const BOUNDARY: &str = "foreshock-7d9f1c2ab84e4c6f9a3e5b1d";

/// Returns the content type and the body of a form with these fields and a picture.
pub(super) fn form(fields: &impl Serialize, png: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::with_capacity(png.len() + 1024);
    if let Ok(Value::Object(fields)) = serde_json::to_value(fields) {
        for (name, value) in fields {
            // A text stands as it is, anything else as its JSON.
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
    }
    let file = "Content-Disposition: form-data; name=\"photo\"; filename=\"chart.png\"\r\nContent-Type: image/png";
    body.extend_from_slice(format!("--{BOUNDARY}\r\n{file}\r\n\r\n").as_bytes());
    body.extend_from_slice(png);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}
