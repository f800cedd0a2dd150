(class_declaration name: (identifier) @name) @definition.class
(object_declaration name: (identifier) @name) @definition.class
(function_declaration name: (identifier) @name) @definition.function
(source_file (property_declaration (variable_declaration (identifier) @name)) @definition.variable)
(class_body (property_declaration (variable_declaration (identifier) @name)) @definition.field)
(type_alias type: (identifier) @name) @definition.type
(import) @import
(call_expression (identifier) @reference)
(navigation_expression (identifier) @reference .)
(user_type (identifier) @reference)
(string_literal) @string
(multiline_string_literal) @string
(line_comment) @comment
(block_comment) @comment
