(function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @definition.function
(class_specifier name: (type_identifier) @name body: (_)) @definition.class
(namespace_definition name: (_) @name) @definition.module
(field_declaration declarator: (function_declarator declarator: (field_identifier) @name)) @definition.prototype
(alias_declaration name: (type_identifier) @name) @definition.type
(concept_definition name: (identifier) @name) @definition.type
(call_expression function: (qualified_identifier name: (identifier) @reference))
(raw_string_literal) @string
