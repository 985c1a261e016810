//! What the whole document has in common: how callers identify themselves, derived from the problems
//! that each route documents.

use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi, RefOr};

use crate::http::problem::Code;

/// A user's signed token.
const TOKEN: &str = "user_token";
/// The user's name, from a trusted source.
const NAME: &str = "user_name";
/// An admin key.
const KEY: &str = "admin_key";

/// Adds security schemes, and the requirements of each operation.
pub struct Identification;

impl Modify for Identification {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, scheme) in schemes() {
            components.add_security_scheme(name, scheme);
        }
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(requirements(operation));
                without_null_parameters(operation);
            }
        }
    }
}

fn schemes() -> [(&'static str, SecurityScheme); 3] {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("With `auth = \"jwt\"`: the user is the token's `sub`."));
    let header = |name, description| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    [
        (TOKEN, SecurityScheme::Http(token.build())),
        (
            NAME,
            header(
                "X-User-Id",
                "With `auth = \"trusted\"`: the user, named by a trusted gateway or on the server's machine.",
            ),
        ),
        (
            KEY,
            header(
                "X-Admin-Key",
                "An admin key; on a development machine without configured keys none is needed.",
            ),
        ),
    ]
}

/// Any one of these identifies a caller well enough.
fn requirements(operation: &Operation) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    let one = |name| SecurityRequirement::new(name, none);
    if documents(operation, Code::AdminKeyMissing) {
        vec![one(KEY)]
    } else if documents(operation, Code::IdentityMissing) {
        let by_admin = SecurityRequirement::new(KEY, none).add(NAME, none);
        let users = [one(TOKEN), one(NAME)];
        let admins = Some(by_admin).filter(|_| documents(operation, Code::AdminKeyWrong));
        users.into_iter().chain(admins).collect()
    } else if documents(operation, Code::AdminKeyWrong) {
        vec![SecurityRequirement::default(), one(KEY)]
    } else if documents(operation, Code::TokenInvalid) {
        vec![SecurityRequirement::default(), one(TOKEN), one(NAME)]
    } else {
        Vec::new()
    }
}

/// Whether an operation documents a problem: descriptions of responses list all their codes.
fn documents(operation: &Operation, code: Code) -> bool {
    let status = code.status().as_str().to_owned();
    match operation.responses.responses.get(&status) {
        Some(RefOr::T(response)) => response.description.contains(&format!("`{}`", code.as_str())),
        _ => false,
    }
}

/// An optional parameter is absent, never null.
fn without_null_parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { continue };
        if let SchemaType::Array(types) = &schema.schema_type {
            let kind = types.iter().find(|kind| **kind != Type::Null).cloned();
            schema.schema_type = kind.map_or(SchemaType::AnyValue, SchemaType::Type);
        }
    }
}
