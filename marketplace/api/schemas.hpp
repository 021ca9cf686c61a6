// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

/// The shapes of bodies in the OpenAPI document. Each is written once, under the name that the
/// document gives it.
namespace marketplace::api {

/// `components.schemas`.
[[nodiscard]] nlohmann::json component_schemas();

/// Which of them an operation takes and answers with.
struct OperationSchemas {
    std::string_view operation;  ///< operationId
    /// A name; "": as the route's own document says.
    std::string_view request;
    /// A name; "Name[]" is a page of a list of them; "": bytes, text or events, no JSON.
    std::string_view answer;
};
/// Null when the operation is not in the table.
[[nodiscard]] const OperationSchemas* schemas_of(std::string_view operation);

/// A reference to a schema by such a name.
[[nodiscard]] nlohmann::json schema_ref(std::string_view name);

}  // namespace marketplace::api
