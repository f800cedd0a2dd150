(trait_definition name: (identifier) @name) @definition.trait
(enum_definition name: (identifier) @name) @definition.enum
(class_definition name: (identifier) @name) @definition.class
(object_definition name: (identifier) @name) @definition.class
(function_definition name: (identifier) @name) @definition.function
(function_declaration name: (identifier) @name) @definition.function
(val_definition pattern: (identifier) @name) @definition.variable
(type_definition name: (type_identifier) @name) @definition.type
(import_declaration) @import
(call_expression function: (identifier) @reference)
(field_expression field: (identifier) @reference)
(type_identifier) @reference
(string) @string
(interpolated_string_expression) @string
(comment) @comment
(block_comment) @comment
