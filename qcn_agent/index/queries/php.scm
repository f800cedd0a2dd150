(namespace_definition name: (_) @name) @definition.module
(interface_declaration name: (name) @name) @definition.interface
(trait_declaration name: (name) @name) @definition.trait
(class_declaration name: (name) @name) @definition.class
(enum_declaration name: (name) @name) @definition.enum
(function_definition name: (name) @name) @definition.function
(method_declaration name: (name) @name) @definition.method
(property_declaration (property_element (variable_name (name) @name))) @definition.field
(namespace_use_declaration) @import
(require_once_expression) @import
(require_expression) @import
(include_expression) @import
(object_creation_expression (name) @reference)
(function_call_expression function: (name) @reference)
(scoped_call_expression name: (name) @reference)
(member_call_expression name: (name) @reference)
(member_access_expression name: (name) @reference)
(base_clause (name) @reference)
(class_interface_clause (name) @reference)
(string) @string
(encapsed_string) @string
(comment) @comment
