#pragma once
/// JSON as regular expressions: what an answer is held to that must be a JSON object, or one of a schema.
#include <string>

namespace rft {

/// A pattern (for GrowingPattern) of every JSON object. Between tokens there are at most 16 blanks.
std::string json_object_pattern();

/// Of the values that a JSON Schema describes, those in which an object has the properties that the schema lists, in
/// its order, the optional ones or not. Read are type, properties, required, additionalProperties (which others there
/// may be: they are left out), items, minItems, maxItems, minLength, maxLength, enum, const, anyOf, $ref to
/// "#/$defs/..." or
/// "#/definitions/...", recursion included; title, description, default, examples, format and $comment are passed over.
/// Throws UserError naming `where` and the place in the schema of whatever else is there, of a schema that is no JSON,
/// and of one that is too large (64 KiB).
std::string json_schema_pattern(const std::string& schema, const std::string& where);

}  // namespace rft
