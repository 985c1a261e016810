//! Limits the size of a request's head. A head larger than the connection's read buffer (128 KiB) does
//! not reach this check: it is answered 431 without a body.

use actix_web::HttpRequest;

use super::problem::{Code, Problem};

/// Bytes of all header names and values together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of path and query together.
const URI_BYTES_MAX: usize = 4 * 1024;

/// Refuses a head above the limits.
pub fn check(request: &HttpRequest) -> Result<(), Problem> {
    let uri_bytes = request.path().len() + request.query_string().len();
    if uri_bytes > URI_BYTES_MAX {
        let detail = format!("Path and query have {uri_bytes} bytes; {URI_BYTES_MAX} are allowed");
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    let headers = request.headers().iter();
    let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        let detail = format!("The headers have {bytes} bytes; {HEADERS_BYTES_MAX} are allowed");
        return Err(Problem::new(Code::HeadersTooLarge, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn large_heads_are_refused() {
        let plain = TestRequest::get().uri("/a?b=c").insert_header(("x", "y")).to_http_request();
        assert!(check(&plain).is_ok());
        let long = format!("/{}", "a".repeat(URI_BYTES_MAX));
        let long = TestRequest::get().uri(&long).to_http_request();
        assert_eq!(check(&long).unwrap_err().code, Code::UriTooLong);
        let heavy = ("x", "y".repeat(HEADERS_BYTES_MAX));
        let heavy = TestRequest::get().insert_header(heavy).to_http_request();
        assert_eq!(check(&heavy).unwrap_err().code, Code::HeadersTooLarge);
    }
}
